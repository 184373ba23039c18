#!/usr/bin/env python3
"""Turns a saved Keras model of the reference architecture into a model directory of imdb-sentiment.

    pip install numpy h5py
    python tools/keras_to_safetensors.py --keras model.keras --word-index imdb_word_index.json --output models/mine

The word index may be packed (`.json.gz`). Golden reviews and the baseline, which the server compares itself with, come from
`trainer complete`; `--trainer` (and `--data`, labelled reviews) runs it at the end.

Neither Keras nor TensorFlow is needed: a `.keras` file is a zip of `config.json` and `model.weights.h5`, and an
`.h5` file carries its architecture in an attribute. Understood are files of Keras 3 and of Keras 2.

The architecture is Embedding -> LSTM -> Dense(1) of any sizes, as a Sequential or a functional model, nested or not.
The sigmoid may be the Dense layer's activation, a layer after it, or absent (a model that gives logits). Layers that
do nothing at inference (dropout and the like) are skipped. Everything else is refused with one line that names the
layer and the reason, because a model that loads and answers something else is worse than one that does not load.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

try:
    import h5py
    import numpy as np
except ImportError as missing:
    sys.exit(f"error: {missing.name} is not installed; install what this reads with: pip install numpy h5py")

FORMAT = "imdb-sentiment/1"
SPECIAL_WORDS = ["<pad>", "<start>", "<unknown>"]
# `index_from` of keras.datasets.imdb.load_data: what it adds to a rank.
INDEX_FROM = 3
DEFAULT_MAX_LENGTH = 500
# What the service accepts (`src/model/config.rs`): better refused here than at its start.
LIMITS = {
    "vocab_size": (len(SPECIAL_WORDS), 10_000_000),
    "embedding_dim": (1, 4096),
    "hidden_size": (1, 1024),
    "max_length": (1, 10_000),
}
# Layers that hand on their input unchanged when a model predicts.
NO_OPS = {
    "InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization", "Identity",
}  # fmt: skip
MODELS = {"Sequential", "Functional", "Model"}
SHAPE = "Embedding -> LSTM -> Dense(1)"


class Refused(Exception):
    """A model or a file that cannot be converted; the message is one line for a person."""


# ---------------------------------------------------------------------------------------------------------------
# The saved file: architecture and weights
# ---------------------------------------------------------------------------------------------------------------


class Saved:
    """What a saved model holds: its architecture as Keras wrote it, and its arrays by HDF5 group."""

    def __init__(self, architecture, groups, keras_version):
        self.architecture = architecture
        self.groups = groups  # [(the names that the group of arrays goes by, {name: array})]
        self.keras_version = keras_version


def read_saved(path):
    """Reads a `.keras` file, the folder that Keras writes with `zipped=False`, or an `.h5` file."""
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise Refused(f"{path}: a folder without config.json (a TensorFlow SavedModel? save as .keras instead)")
        return read_keras_parts(path, lambda name: (path / name).read_bytes() if (path / name).is_file() else None)
    if not path.is_file():
        raise Refused(f"{path}: no such file")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            return read_keras_parts(path, lambda name: archive.read(name) if name in names else None)
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return read_legacy_h5(path, file)
    raise Refused(f"{path}: neither a .keras (zip) nor an .h5 (HDF5) file")


def read_keras_parts(path, read):
    """Reads the parts of a `.keras` archive; `read(name)` gives a part's bytes or None."""
    config, weights = read("config.json"), read("model.weights.h5")
    if config is None or weights is None:
        missing = "config.json" if config is None else "model.weights.h5"
        raise Refused(f"{path}: not a .keras file, it holds no {missing}")
    metadata = json.loads(read("metadata.json") or b"{}")
    with h5py.File(io.BytesIO(weights), "r") as file:
        # Groups are called after layers' classes, `lstm_1` the second LSTM; newer files tell the layer's name beside.
        groups = [
            ({title} if title else {re.sub(r"_\d+$", "", part) for part in path.split("/")}, arrays)
            for path, title, arrays in walk(file)
        ]
    return Saved(json.loads(config), groups, str(metadata.get("keras_version", "unknown")))


def read_legacy_h5(path, file):
    """Reads the HDF5 format of Keras 1 and 2, which Keras 3 still writes for names that end in `.h5`."""
    if "model_config" not in file.attrs:
        raise Refused(f"{path}: holds weights but no architecture; save the whole model, not its weights")
    version = as_text(file.attrs.get("keras_version", "unknown"))
    # Groups are called after layers.
    groups = [({path.split("/")[1]}, arrays) for path, _, arrays in walk(file["model_weights"])]
    return Saved(json.loads(as_text(file.attrs["model_config"])), groups, version)


def as_text(value):
    """An HDF5 attribute as text: older writers leave bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def walk(group, path=""):
    """Yields every group of `group` that directly holds arrays, the optimizer's left out."""
    arrays = {}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            # Keras 2 appends TensorFlow's output number, `kernel:0`.
            arrays[re.sub(r":\d+$", "", name)] = np.asarray(item)
        elif (path, name) not in {("", "optimizer"), ("", "optimizer_weights")}:
            yield from walk(item, f"{path}/{name}")
    if arrays:
        yield path, as_text(group.attrs.get("name", "")), arrays


# ---------------------------------------------------------------------------------------------------------------
# The architecture: one chain of layers
# ---------------------------------------------------------------------------------------------------------------


def chain(model):
    """The layers of a saved model from input to output, nested models unfolded; refuses anything but one chain."""
    kind = model.get("class_name")
    if kind not in MODELS:
        raise Refused(f"the model is a {kind}; only Sequential and functional models are understood")
    config = model["config"]
    # Keras 1 wrote a Sequential's config as the bare list of its layers.
    layers = config if isinstance(config, list) else config["layers"]
    if kind != "Sequential":
        layers = order_functional(config)
    flat = []
    for layer in layers:
        flat.extend(chain(layer) if layer.get("class_name") in MODELS else [layer])
    return flat


def order_functional(config):
    """The layers of a functional model in the order of its one path."""
    by_name = {layer.get("name", layer["config"].get("name")): layer for layer in config["layers"]}
    outputs = tensor_names(config["output_layers"])
    if len(outputs) != 1 or len(tensor_names(config["input_layers"])) != 1:
        raise Refused("the model has several inputs or outputs, not one of each")
    path, name = [], outputs[0]
    while True:
        layer = by_name[name]
        path.append(layer)
        nodes = layer.get("inbound_nodes", [])
        if not nodes:
            break
        if len(path) > len(by_name):
            raise Refused("the layers form a circle")
        if len(nodes) > 1:
            raise Refused(f"layer `{name}` is called {len(nodes)} times; only one chain of layers is understood")
        sources, arguments = node_inputs(nodes[0])
        if len(sources) != 1:
            raise Refused(f"layer `{name}` has {len(sources)} inputs; only one chain of layers is understood")
        if any(given.get("training") for given in arguments):
            raise Refused(f"layer `{name}` is called with training=True: its answers are random")
        name = sources[0]
    if len(path) != len(by_name):
        unused = sorted(set(by_name) - {layer.get("name", layer["config"].get("name")) for layer in path})
        raise Refused(f"layer `{unused[0]}` does not lie on the path from input to output")
    return path[::-1]


def tensor_names(ends):
    """The layer names in `input_layers` or `output_layers`: one [name, node, tensor] or a list of those."""
    return [ends[0]] if ends and isinstance(ends[0], str) else [end[0] for end in ends]


def node_inputs(node):
    """The names of the layers that feed one call of a layer, and the keyword arguments of that call."""
    if isinstance(node, dict):  # Keras 3
        sources = []

        def gather(value):
            if isinstance(value, dict):
                if value.get("class_name") == "__keras_tensor__":
                    sources.append(value["config"]["keras_history"][0])
                else:
                    gather(list(value.values()))
            elif isinstance(value, list):
                for inner in value:
                    gather(inner)

        gather([node.get("args", []), node.get("kwargs", {})])
        return sources, [node.get("kwargs", {})]
    calls = [node] if node and isinstance(node[0], str) else node  # Keras 2: [[name, node, tensor, arguments], ...]
    return [call[0] for call in calls], [call[3] if len(call) > 3 else {} for call in calls]


def function_name(activation):
    """The name of an activation, however the file spells it."""
    if isinstance(activation, dict):  # {"class_name": "function", "config": NAME}, or a layer with its settings
        named = activation.get("config")
        activation = named if isinstance(named, str) else activation.get("class_name", "a custom function")
    return "linear" if activation is None else str(activation)


def declared_length(layer):
    """The number of ids that an input or embedding layer is declared to read, or None where it is free."""
    config = layer["config"]
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if shape and len(shape) == 2 and isinstance(shape[1], int):
        return shape[1]
    length = config.get("input_length")
    return length if isinstance(length, int) else None


class Architecture:
    """The three layers that matter, checked, and what is to be said about the others."""

    def __init__(self, layers):
        self.embedding = self.lstm = self.dense = None
        self.length = None
        self.notes = []
        sigmoid_after = False
        for layer in layers:
            kind, name = layer.get("class_name"), layer["config"].get("name", "?")
            registered = layer.get("registered_name")
            if registered and registered != kind:
                raise Refused(f"layer `{name}` is a custom {registered}; only Keras's own layers are understood")
            self.length = self.length or declared_length(layer)
            if kind == "Embedding" and self.embedding is None and self.lstm is None and self.dense is None:
                self.embedding = self.check_embedding(name, layer["config"])
            elif kind == "LSTM" and self.embedding is not None and self.lstm is None and self.dense is None:
                self.lstm = self.check_lstm(name, layer["config"])
            elif kind == "Dense" and self.lstm is not None and self.dense is None:
                self.dense = self.check_dense(name, layer["config"])
            elif kind == "Activation" and self.dense is not None:
                function = function_name(layer["config"].get("activation"))
                if function == "linear":
                    continue
                if function != "sigmoid" or sigmoid_after or self.dense_activation == "sigmoid":
                    raise Refused(f"layer `{name}` applies {function} after the classifier; expected one sigmoid")
                sigmoid_after = True
            elif kind in NO_OPS:
                continue
            else:
                wanted = [what for part, what in self.parts() if part is None]
                expected = wanted[0] if wanted else "the end of the model"
                raise Refused(f"layer `{name}` is a {kind}, expected {expected}: the service runs {SHAPE}")
        for part, what in self.parts():
            if part is None:
                raise Refused(f"the model has no {what} layer: the service runs {SHAPE}")
        if self.dense_activation == "linear" and not sigmoid_after:
            self.notes.append("the model gives logits; the service applies the sigmoid")

    def parts(self):
        """The layers found so far and what each must be."""
        return [(self.embedding, "Embedding"), (self.lstm, "LSTM"), (self.dense, "Dense(1)")]

    def check_embedding(self, name, config):
        """Checks an Embedding layer; returns its name and its sizes."""
        if config.get("mask_zero"):
            raise Refused(f"layer `{name}` has mask_zero=True: the service runs over the padding, it does not mask it")
        self.check_precision(name, config)
        return {"name": name, "rows": config["input_dim"], "columns": config["output_dim"]}

    def check_lstm(self, name, config):
        """Checks an LSTM layer; returns its name, its units and whether it has a bias."""
        for key, why in [
            ("return_sequences", "the classifier reads the last state only (a stacked LSTM?)"),
            ("return_state", "the classifier reads the last state only"),
            ("go_backwards", "the service reads a review forwards"),
            ("stateful", "the service starts every review from zero"),
            ("time_major", "the service reads batches first"),
        ]:
            if config.get(key):
                raise Refused(f"layer `{name}` has {key}=True: {why}")
        for key, expected in [("activation", "tanh"), ("recurrent_activation", "sigmoid")]:
            found = function_name(config.get(key, expected))
            if found != expected:
                raise Refused(f"layer `{name}` has {key} {found}: the service computes {expected}")
        self.check_precision(name, config)
        return {"name": name, "units": config["units"], "bias": config.get("use_bias", True)}

    def check_dense(self, name, config):
        """Checks the classifier; returns its name and whether it has a bias, and keeps its activation."""
        if config["units"] != 1:
            raise Refused(f"layer `{name}` has {config['units']} units: the service's classifier has 1")
        self.dense_activation = function_name(config.get("activation"))
        if self.dense_activation not in ("sigmoid", "linear"):
            raise Refused(f"layer `{name}` has activation {self.dense_activation}: the service computes sigmoid")
        self.check_precision(name, config)
        return {"name": name, "bias": config.get("use_bias", True)}

    def check_precision(self, name, config):
        """Refuses quantized layers and notes those that compute in less than 32 bits."""
        policy = config.get("dtype")
        policy = policy["config"].get("name") if isinstance(policy, dict) else policy
        if config.get("quantization_config") or config.get("quantization_mode") or "int" in str(policy):
            raise Refused(f"layer `{name}` is quantized: the service reads floating-point weights")
        if policy not in (None, "float32"):
            self.notes.append(f"layer `{name}` computes in {policy}, the service in float32: last digits differ")


# ---------------------------------------------------------------------------------------------------------------
# The weights
# ---------------------------------------------------------------------------------------------------------------


def find_group(saved, kind, layer_name, shapes):
    """The arrays of one layer of class `kind`: `shapes` gives each array's name and shape, in Keras's order.

    Keras's groups go by layers' names or by their classes, depending on version and format, so the search goes by
    the arrays' own names and shapes, and by the group's names only where two layers look alike.
    """

    def arrays_of(arrays):
        if len(arrays) != len(shapes):
            return None
        found = []
        for position, (name, shape) in enumerate(shapes):
            array = arrays.get(str(position), arrays.get(name))
            if array is None or array.shape != shape:
                return None
            found.append(array)
        return found

    candidates = [(names, arrays_of(arrays)) for names, arrays in saved.groups]
    candidates = [candidate for candidate in candidates if candidate[1] is not None]
    for wanted in (layer_name, kind):
        if len(candidates) > 1:
            candidates = [candidate for candidate in candidates if wanted in candidate[0]] or candidates
    if len(candidates) != 1:
        expected = ", ".join(f"{name} {list(shape)}" for name, shape in shapes)
        count = "no" if not candidates else "more than one"
        raise Refused(f"layer `{layer_name}`: the file holds {count} group of arrays {expected}")
    return candidates[0][1]


def as_float32(layer_name, array_name, array):
    """`array` as 32-bit floats; refuses other kinds of numbers and values that are not finite."""
    if array.dtype.kind != "f":
        raise Refused(f"layer `{layer_name}`: {array_name} is of type {array.dtype}, expected floating point")
    with np.errstate(over="ignore"):  # a 64-bit value beyond 32 bits is reported below
        narrow = np.ascontiguousarray(array, dtype="<f4")
    if not np.isfinite(narrow).all():
        at = np.argwhere(~np.isfinite(narrow))[0].tolist()
        raise Refused(f"layer `{layer_name}`: {array_name}{at} is {array[tuple(at)]}, weights must be finite")
    return narrow


def convert_weights(saved, architecture):
    """The tensors of the model directory by name, and its sizes.

    Keras multiplies row vectors from the left, x W; PyTorch's layout holds the transpose. The gate order
    (input, forget, cell, output) is the same in both.
    """
    embedding, lstm, dense = architecture.embedding, architecture.lstm, architecture.dense
    rows, columns, units = embedding["rows"], embedding["columns"], lstm["units"]

    shapes = [("embeddings", (rows, columns))]
    (table,) = find_group(saved, "embedding", embedding["name"], shapes)

    shapes = [("kernel", (columns, 4 * units)), ("recurrent_kernel", (units, 4 * units)), ("bias", (4 * units,))]
    cell = find_group(saved, "lstm", lstm["name"], shapes[: 2 + lstm["bias"]])
    cell_bias = cell[2] if lstm["bias"] else np.zeros(4 * units, "f4")

    shapes = [("kernel", (units, 1)), ("bias", (1,))]
    classifier = find_group(saved, "dense", dense["name"], shapes[: 1 + dense["bias"]])
    classifier_bias = classifier[1] if dense["bias"] else np.zeros(1, "f4")

    tensors = {
        "embedding.weight": as_float32(embedding["name"], "embeddings", table),
        "lstm.weight_ih_l0": as_float32(lstm["name"], "kernel", cell[0]).T,
        "lstm.weight_hh_l0": as_float32(lstm["name"], "recurrent_kernel", cell[1]).T,
        "lstm.bias_ih_l0": as_float32(lstm["name"], "bias", cell_bias),
        "classifier.weight": as_float32(dense["name"], "kernel", classifier[0]).T,
        "classifier.bias": as_float32(dense["name"], "bias", classifier_bias),
    }
    return tensors, {"vocab_size": rows, "embedding_dim": columns, "hidden_size": units}


# ---------------------------------------------------------------------------------------------------------------
# The model directory
# ---------------------------------------------------------------------------------------------------------------


def read_words(path, vocab_size):
    """The lines of `vocab.txt` from a word index (word -> rank, 1 the most frequent): the word of rank r has id r + 3.

    Since ranks start at 1, id 3 belongs to no word. A rank that the index lacks leaves `<unused-ID>`, which no text
    can hold (the tokenizer cuts at `<`); so does a word that no tokenizer can produce because it is empty or holds a
    line break.
    """
    try:
        data = path.read_bytes()
        # By its first bytes, whatever its name.
        index = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError, ValueError, zlib.error) as fault:
        raise Refused(f"{path}: {fault}") from fault
    if not isinstance(index, dict) or not all(type(rank) is int for rank in index.values()):
        raise Refused(f"{path}: not a JSON object of word to rank")
    words = SPECIAL_WORDS + [None] * (vocab_size - len(SPECIAL_WORDS))
    for word, rank in index.items():
        word_id = rank + INDEX_FROM
        if rank < 1:
            raise Refused(f"{path}: rank {rank} of `{word}`: ranks start at 1")
        if word_id >= vocab_size:
            continue
        if words[word_id] is not None:
            raise Refused(f"{path}: rank {rank} stands twice, `{words[word_id]}` and `{word}`")
        if word and "\n" not in word:
            words[word_id] = word
    return [f"<unused-{word_id}>" if word is None else word for word_id, word in enumerate(words)]


def encode_safetensors(tensors, metadata):
    """The bytes of a safetensors file: length of the header, header (JSON), then the tensors end to end."""
    header, offset, body = {"__metadata__": metadata}, 0, []
    for name, array in tensors.items():
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        body.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors to start at a multiple of 8
    return struct.pack("<Q", len(text)) + text + b"".join(body)


def write_directory(output, files, force):
    """Writes `files` (name to bytes) as the directory `output`, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.parent / f".{output.name}.partial-{os.getpid()}"
    old = output.parent / f".{output.name}.old-{os.getpid()}"
    try:
        fresh.mkdir()
        for name, data in files.items():
            with open(fresh / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        replaces = output.exists()
        if replaces and not force:
            raise Refused(f"{output}: exists already; --force replaces it")
        if replaces:
            output.rename(old)
        try:
            fresh.rename(output)
        except OSError:
            if replaces:
                old.rename(output)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def model_card(source, saved, config, notes):
    """The text of the directory's README.md."""
    parameters = config["vocab_size"] * config["embedding_dim"]
    parameters += 4 * config["hidden_size"] * (config["embedding_dim"] + config["hidden_size"] + 1)
    parameters += config["hidden_size"] + 1
    network = (
        f"Embedding {config['vocab_size']:,} x {config['embedding_dim']} -> LSTM {config['hidden_size']} -> Dense 1"
    )
    lines = [
        "# Converted from Keras",
        "",
        f"Made from `{source.name}` (Keras {saved.keras_version}) by `tools/keras_to_safetensors.py`.",
        "",
        f"{network} -> sigmoid, {parameters:,} parameters; the last {config['max_length']} ids, padded in front.",
    ]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def convert(keras, word_index, output, max_length, force):
    """Converts one saved model; returns what a person may want to know, line by line."""
    if output.exists() and not force:
        raise Refused(f"{output}: exists already; --force replaces it")
    try:
        saved = read_saved(keras)
        layers = chain(saved.architecture)
        architecture = Architecture(layers)
    except (LookupError, TypeError, AttributeError, ValueError, OSError, RuntimeError, zipfile.BadZipFile) as fault:
        # The file's own structure is not what Keras writes.
        raise Refused(f"{keras}: damaged or of an unknown version ({type(fault).__name__}: {fault})") from fault
    except Refused as fault:
        raise fault if str(fault).startswith(str(keras)) else Refused(f"{keras}: {fault}") from fault
    try:
        tensors, sizes = convert_weights(saved, architecture)
    except Refused as fault:
        raise Refused(f"{keras}: {fault}") from fault

    notes = list(architecture.notes)
    length = max_length or architecture.length or DEFAULT_MAX_LENGTH
    if max_length and architecture.length and max_length != architecture.length:
        notes.append(f"max_length {max_length} as told; the model was declared or built for {architecture.length}")
    config = {
        "format": 1,
        "tokenizer": "keras",
        **sizes,
        "num_layers": 1,
        "bidirectional": False,
        "pooling": "last",
        "max_length": length,
        "padding": "pre",
    }
    for key, (low, high) in LIMITS.items():
        if not low <= config[key] <= high:
            raise Refused(f"{keras}: {key} is {config[key]}, the service reads {low} to {high}")

    words = read_words(word_index, config["vocab_size"])
    unused = sum(word.startswith("<unused-") for word in words[INDEX_FROM + 1 :])
    if unused:
        notes.append(f"{unused} of {len(words)} ids have no word in {word_index.name}; their lines say <unused-ID>")
    config_bytes = (json.dumps(config, indent=2) + "\n").encode()
    vocab_bytes = ("\n".join(words) + "\n").encode()
    metadata = {
        "format": FORMAT,
        "config_sha256": hashlib.sha256(config_bytes).hexdigest(),
        "vocab_sha256": hashlib.sha256(vocab_bytes).hexdigest(),
        "source": f"keras {saved.keras_version}",
    }
    files = {
        "config.json": config_bytes,
        "vocab.txt": vocab_bytes,
        "README.md": model_card(keras, saved, config, notes).encode(),
        "model.safetensors": encode_safetensors(tensors, metadata),
    }
    try:
        write_directory(output, files, force)
    except OSError as fault:
        raise Refused(f"{output}: {fault.strerror}") from fault
    done = f"{output}: " + ", ".join(f"{key} {config[key]}" for key in LIMITS)
    return [done, *notes]


def main():
    """Reads the command line and converts one model."""
    parser = argparse.ArgumentParser(description="Turns a saved Keras model into a model directory of imdb-sentiment.")
    parser.add_argument("--keras", type=Path, required=True, metavar="FILE", help="the saved model, .keras or .h5")
    parser.add_argument(
        "--word-index", type=Path, required=True, metavar="JSON",
        help="imdb_word_index.json, or the same packed (.json.gz): word to rank",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the model directory to write")
    parser.add_argument(
        "--max-length", type=int, metavar="N",
        help=f"ids that the model reads; default: the length it was built for, else {DEFAULT_MAX_LENGTH}",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace DIR where it exists")
    parser.add_argument("--trainer", metavar="PROGRAM", help="the trainer, to write golden reviews and baseline as well")
    parser.add_argument("--data", metavar="PATH", help="labelled reviews for the baseline; goes with --trainer")
    arguments = parser.parse_args()
    if arguments.max_length is not None and arguments.max_length < 1:
        parser.error("--max-length must be at least 1")
    if arguments.data and not arguments.trainer:
        parser.error("--data goes with --trainer")
    try:
        lines = convert(arguments.keras, arguments.word_index, arguments.output, arguments.max_length, arguments.force)
    except Refused as fault:
        print(f"error: {fault}".replace("\n", " "), file=sys.stderr)
        return 1
    print(lines[0])
    for note in lines[1:]:
        print(f"note: {note}", file=sys.stderr)
    return complete(arguments.output, arguments.trainer, arguments.data)


def complete(output, trainer, data):
    """Has the trainer add golden reviews and baseline, or says how; returns the exit status."""
    if not trainer:
        print(f"next: cargo trainer complete {output} --data LABELLED   # golden reviews, baseline", file=sys.stderr)
        return 0
    try:
        done = subprocess.run([trainer, "complete", str(output), *(["--data", data] if data else [])])
    except OSError as fault:
        print(f"error: {trainer}: {fault.strerror}; the model is converted, not completed", file=sys.stderr)
        return 1
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
