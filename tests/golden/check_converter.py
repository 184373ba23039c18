#!/usr/bin/env python3
"""Checks `tools/keras_to_safetensors.py` against models made, saved and run by real Keras.

    pip install numpy h5py tensorflow-cpu         (or keras with another backend: KERAS_BACKEND=torch)
    python tests/golden/check_converter.py        (with TRAINER=… its --trainer too; --tf-keras checks the files of Keras 2, from `pip install tf_keras`)

What must convert is converted and must answer as Keras does; what must be refused must leave one line and no
directory. Nothing is written outside a temporary folder.
"""

import argparse
import gzip
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from reference import ModelDirectory, sigmoid

if "--tf-keras" in sys.argv:
    import tf_keras as keras
else:
    import keras
L = keras.layers
NEW = not keras.__version__.startswith("2.")

TOOL = Path(__file__).resolve().parents[2] / "tools" / "keras_to_safetensors.py"
LENGTH = 12


def run(folder, saved, *more, output="out", vocabulary=90):
    """Runs the tool; returns the finished process and the directory it was told to write."""
    words = folder / "imdb_word_index.json"
    words.write_text(json.dumps({f"word{rank}": rank for rank in range(1, vocabulary)}))
    command = [sys.executable, TOOL, "--keras", saved, "--word-index", words, "--output", folder / output, *more]
    return subprocess.run(map(str, command), capture_output=True, text=True), folder / output


def chain(*layers, inputs=True):
    """A Sequential model with random weights large enough to matter."""
    model = keras.Sequential(([keras.Input((LENGTH,))] if inputs else []) + list(layers))
    return spread(model)


def functional(build):
    """A functional model from ids to `build`'s result."""
    ids = keras.Input((LENGTH,), dtype="int32")
    return spread(keras.Model(ids, build(ids)))


def spread(model):
    """Draws every weight anew, wider than Keras starts them, so that wrong layouts show."""
    if not model.built:
        model.build((None, LENGTH))
    random = np.random.default_rng(7)
    for layer in model.layers:
        if layer.get_weights() and "Vectorization" not in type(layer).__name__:
            layer.set_weights([random.normal(0, 0.7, array.shape).astype(array.dtype) for array in layer.get_weights()])
    return model


def accepted():
    """Name, model and whether it gives logits."""
    e, d = lambda v=50, n=4: L.Embedding(v, n), lambda a="sigmoid": L.Dense(1, activation=a)
    yield "tutorial", chain(e(), L.LSTM(3), d(), inputs=False), False
    yield "with input", chain(e(), L.LSTM(3), d()), False
    yield (
        "dropout everywhere",
        chain(e(), L.SpatialDropout1D(0.2), L.LSTM(8, dropout=0.2, recurrent_dropout=0.2), L.Dropout(0.5), d()),
        False,
    )
    yield "noise", chain(e(), L.GaussianNoise(0.1), L.LSTM(3), L.GaussianDropout(0.1), d()), False
    yield "logits", chain(e(), L.LSTM(5), d(None)), True
    yield "sigmoid layer", chain(e(), L.LSTM(5), d(None), L.Activation("sigmoid")), False
    yield "sigmoid function", chain(e(), L.LSTM(5), d(keras.activations.sigmoid)), False
    yield "no biases", chain(e(), L.LSTM(5, use_bias=False), L.Dense(1, "sigmoid", use_bias=False)), False
    yield "unrolled", chain(e(), L.LSTM(4, unroll=True), d()), False
    yield "one unit", chain(L.Embedding(4, 1), L.LSTM(1), d()), False
    yield (
        "look-alikes",
        chain(L.Embedding(4, 1), L.LSTM(4, use_bias=False), L.Dense(1, "sigmoid", use_bias=False)),
        False,
    )
    yield "sizes that could be confused", chain(L.Embedding(16, 16), L.LSTM(4), d()), False
    yield (
        "odd names",
        chain(L.Embedding(50, 4, name="lstm"), L.LSTM(4, name="dense"), L.Dense(1, "sigmoid", name="embedding")),
        False,
    )
    yield "functional", functional(lambda x: L.Dense(1, "sigmoid", name="x-1")(L.LSTM(6)(L.Embedding(30, 7)(x)))), False
    yield (
        "functional with dropout",
        functional(
            lambda x: L.Dense(1, "sigmoid")(L.Dropout(0.3)(L.LSTM(6)(L.SpatialDropout1D(0.3)(L.Embedding(30, 7)(x)))))
        ),
        False,
    )
    inner = chain(e(), L.LSTM(3), d(None))
    yield "nested", functional(lambda x: L.Activation("sigmoid")(inner(x))), False
    yield "reference size", chain(L.Embedding(10000, 32), L.LSTM(32), d()), False
    compiled = chain(e(), L.LSTM(3), d())
    compiled.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    random = np.random.default_rng(1)
    compiled.fit(random.integers(0, 50, (64, LENGTH)), random.integers(0, 2, 64), epochs=2, verbose=0)
    yield "trained", compiled, False
    free = keras.Sequential([keras.Input((None,)), e(), L.LSTM(3), d()])
    yield "free length", spread(free), False


def refused():
    """Name, model and a word that the message must hold."""
    e, d = lambda **more: L.Embedding(50, 4, **more), lambda: L.Dense(1, activation="sigmoid")
    yield "mask", chain(e(mask_zero=True), L.LSTM(3), d()), "mask_zero"
    yield "masking layer", chain(e(), L.Masking(), L.LSTM(3), d()), "Masking"
    yield "gru", chain(e(), L.GRU(3), d()), "GRU"
    yield "simple rnn", chain(e(), L.SimpleRNN(3), d()), "SimpleRNN"
    yield "stacked", chain(e(), L.LSTM(3, return_sequences=True), L.LSTM(3), d()), "return_sequences"
    yield "sequences", chain(e(), L.LSTM(3, return_sequences=True), L.GlobalMaxPooling1D(), d()), "return_sequences"
    yield "both directions", chain(e(), L.Bidirectional(L.LSTM(3)), d()), "Bidirectional"
    yield "backwards", chain(e(), L.LSTM(3, go_backwards=True), d()), "go_backwards"
    yield "layer as activation", chain(e(), L.LSTM(3, activation=L.ReLU()), d()), "activation ReLU"
    yield "relu", chain(e(), L.LSTM(3, activation="relu"), d()), "activation relu"
    yield "hard sigmoid", chain(e(), L.LSTM(3, recurrent_activation="hard_sigmoid"), d()), "hard_sigmoid"
    yield "two classes", chain(e(), L.LSTM(3), L.Dense(2, activation="softmax")), "2 units"
    yield "tanh", chain(e(), L.LSTM(3), L.Dense(1, activation="tanh")), "tanh"
    yield "two sigmoids", chain(e(), L.LSTM(3), d(), L.Activation("sigmoid")), "after the classifier"
    yield "two dense", chain(e(), L.LSTM(3), L.Dense(4, activation="relu"), d()), "4 units"
    yield "no lstm", chain(e(), L.GlobalAveragePooling1D(), d()), "GlobalAveragePooling1D"
    yield "convolution", chain(e(), L.Conv1D(4, 3), L.LSTM(3), d()), "Conv1D"
    yield "no classifier", chain(e(), L.LSTM(3)), "no Dense"
    yield "normalization", chain(e(), L.LSTM(3), L.BatchNormalization(), d()), "BatchNormalization"
    nan = chain(e(), L.LSTM(3), d())
    weights = nan.get_weights()
    weights[2][1, 2] = np.nan
    nan.set_weights(weights)
    yield "nan", nan, "recurrent_kernel[1, 2] is nan"
    infinite = chain(e(), L.LSTM(3), d())
    weights = infinite.get_weights()
    weights[0][49, 3] = np.inf
    infinite.set_weights(weights)
    yield "infinity", infinite, "embeddings[49, 3] is inf"
    yield (
        "random at inference",
        functional(lambda x: L.Dense(1, "sigmoid")(L.Dropout(0.5)(L.LSTM(3)(L.Embedding(50, 4)(x)), training=True))),
        "training=True",
    )
    two = keras.Input((LENGTH,)), keras.Input((3,))
    joined = L.Concatenate()([L.LSTM(3)(L.Embedding(50, 4)(two[0])), two[1]])
    yield "two inputs", keras.Model(two, L.Dense(1, "sigmoid")(joined)), "several inputs"
    shared = L.Dense(1, "sigmoid")
    yield (
        "two outputs",
        functional(lambda x: [shared(L.LSTM(3)(L.Embedding(50, 4)(x))), x]),
        "several inputs or outputs",
    )
    yield (
        "branch",
        functional(
            lambda x: L.Dense(1, "sigmoid")(L.add([(y := L.LSTM(3)(L.Embedding(50, 4)(x))), L.Dropout(0.1)(y)]))
        ),
        "2 inputs",
    )
    yield "too wide", chain(e(), L.LSTM(1025), d()), "hidden_size is 1025"
    if NEW:
        yield (
            "vectorization",
            keras.Sequential([L.InputLayer((LENGTH,)), L.Rescaling(1.0), e(), L.LSTM(3), d()]),
            "Rescaling",
        )
    batch = {"batch_shape": (2, LENGTH)} if NEW else {"batch_size": 2, "shape": (LENGTH,)}
    stateful = keras.Sequential([keras.Input(**batch), e(), L.LSTM(3, stateful=True), d()])
    yield "stateful", stateful, "stateful"


def check_answers(name, model, directory, gives_logits):
    """Compares the written directory, run in numpy, with Keras's own answers."""
    written = ModelDirectory(directory)
    random = np.random.default_rng(3)
    ids = random.integers(0, written.config["vocab_size"], (6, LENGTH))
    expected = model.predict(ids, verbose=0)[:, 0].astype(float)
    expected = sigmoid(expected) if gives_logits else expected
    found = np.array([sigmoid(written.logit(row)) for row in ids])
    error = np.abs(found - expected).max()
    assert error < 1e-6, f"{name}: {error}"
    return error


def saved_forms(folder, model):
    """Every file form that this Keras writes."""
    forms = [folder / "model.keras"]
    model.save(forms[0])
    try:
        model.save(folder / "model.h5")
        forms.append(folder / "model.h5")
    except ValueError:
        pass  # Keras 3.0 cannot write every nested model in this form
    if NEW and "zipped" in keras.saving.save_model.__code__.co_varnames:
        keras.saving.save_model(model, folder / "unzipped", zipped=False)
        forms.append(folder / "unzipped")
    return forms


def one_line_refusal(process, directory, word):
    """Asserts exit code 1, one line of error that holds `word`, and nothing written."""
    lines = process.stderr.strip().split("\n")
    assert process.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: "), process.stderr
    assert word in lines[0], f"expected `{word}` in: {lines[0]}"
    assert not directory.exists()
    assert not [path for path in directory.parent.iterdir() if ".partial" in path.name or ".old" in path.name]
    return lines[0]


def check_models():
    """Every model that must convert and every one that must not, in every form of file."""
    for name, model, gives_logits in accepted():
        with tempfile.TemporaryDirectory() as folder:
            for number, path in enumerate(saved_forms(Path(folder), model)):
                process, directory = run(Path(folder), path, output=f"out{number}", vocabulary=12000)
                assert process.returncode == 0, f"{name}, {path.name}: {process.stderr}"
                assert ("gives logits" in process.stderr) == gives_logits, process.stderr
                # Keras 2 forgets the length that a model without an input layer was built for.
                free = name == "free length" or (name == "tutorial" and not NEW)
                assert ModelDirectory(directory).config["max_length"] == (500 if free else LENGTH)
                error = check_answers(name, model, directory, gives_logits)
            print(f"converts  {name:30} {error:.1e}")
    for name, model, word in refused():
        with tempfile.TemporaryDirectory() as folder:
            for path in saved_forms(Path(folder), model):
                process, directory = run(Path(folder), path)
                line = one_line_refusal(process, directory, word)
            print(f"refuses   {name:30} {line.split(': ', 2)[2]}")


def check_files():
    """Damaged files, files of other kinds, existing directories, bad word indexes."""
    model = chain(L.Embedding(50, 4), L.LSTM(3), L.Dense(1, activation="sigmoid"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved = folder / "model.keras"
        model.save(saved)
        whole = saved.read_bytes()

        cut, none = folder / "cut.keras", folder / "out"
        for length in range(0, len(whole), max(1, len(whole) // 40)):
            cut.write_bytes(whole[:length])
            one_line_refusal(*run(folder, cut), str(cut))
        random = np.random.default_rng(5)
        for _ in range(60):  # a flipped byte is refused or does no harm, but never a traceback
            at = int(random.integers(len(whole)))
            cut.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
            process, directory = run(folder, cut, output="flipped")
            assert process.returncode in (0, 1) and "Traceback" not in process.stderr, process.stderr
            if process.returncode == 0:
                subprocess.run(["rm", "-r", directory], check=True)
        one_line_refusal(*run(folder, folder / "missing.keras"), "no such file")
        (folder / "text.keras").write_text("hello")
        one_line_refusal(*run(folder, folder / "text.keras"), "neither")
        weights = folder / "only.weights.h5"
        model.save_weights(weights)
        one_line_refusal(*run(folder, weights), "no architecture")
        (folder / "empty").mkdir()
        one_line_refusal(*run(folder, folder / "empty"), "without config.json")

        process, directory = run(folder, saved)
        assert process.returncode == 0, process.stderr
        before = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert set(before) == {"config.json", "vocab.txt", "model.safetensors", "README.md"}
        process, _ = run(folder, saved, "--max-length", "7")
        assert process.returncode == 1 and "--force" in process.stderr, process.stderr
        assert before == {path.name: path.read_bytes() for path in directory.iterdir()}
        process, _ = run(folder, saved, "--max-length", "7", "--force")
        assert process.returncode == 0 and "built for 12" in process.stderr, process.stderr
        assert ModelDirectory(directory).config["max_length"] == 7
        lines = (directory / "vocab.txt").read_text().split("\n")
        assert lines[:6] == ["<pad>", "<start>", "<unknown>", "<unused-3>", "word1", "word2"], lines[:6]
        assert len(lines) == 51 and lines[49] == "word46"
        process, _ = run(folder, saved, "--force", vocabulary=10)
        assert process.returncode == 0 and "37 of 50 ids" in process.stderr, process.stderr

        packed = folder / "index.json.gz"
        whole = gzip.compress(json.dumps({f"word{rank}": rank for rank in range(1, 90)}).encode())
        command = [sys.executable, TOOL, "--keras", saved, "--word-index", packed, "--output", folder / "packed"]
        packed.write_bytes(whole[:40])
        one_line_refusal(subprocess.run(map(str, command), capture_output=True, text=True), folder / "packed", "index.json.gz")
        packed.write_bytes(whole)
        process = subprocess.run(map(str, command), capture_output=True, text=True)
        assert process.returncode == 0 and "trainer complete" in process.stderr, process.stderr
        assert (folder / "packed" / "vocab.txt").read_bytes() == before["vocab.txt"]
        trainer = os.environ.get("TRAINER")
        if trainer:
            more = ["--force", "--trainer", trainer]
            process = subprocess.run(map(str, command + more), capture_output=True, text=True)
            assert process.returncode == 0 and (folder / "packed" / "golden.json").is_file(), process.stderr

        index = folder / "index.json"
        command = [sys.executable, TOOL, "--keras", saved, "--word-index", index, "--output", none / "x"]
        for text, word in [
            ("[1]", "not a JSON object"),
            ("{", "index.json"),
            ('{"a": 0}', "start at 1"),
            ('{"a": "1"}', "not a JSON object"),
            ('{"a": 1, "b": 1}', "stands twice"),
        ]:
            index.write_text(text)
            process = subprocess.run(map(str, command), capture_output=True, text=True)
            one_line_refusal(process, none / "x", word)
        if os.geteuid() != 0:  # root may write anywhere
            closed = folder / "closed"
            closed.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
            one_line_refusal(*run(folder, saved, output="closed/x"), "Permission denied")
    print("files     damaged, missing, foreign, existing, word indexes")


def main():
    """Runs every check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tf-keras", action="store_true", help="check the files of Keras 2 (tf_keras)")
    parser.parse_args()
    print(f"keras {keras.__version__}")
    check_models()
    check_files()


if __name__ == "__main__":
    main()
