"""What the peers share: a model directory, real reviews as ids, and the model in ONNX, PyTorch and Keras."""

import json
import os
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
SEPARATORS = str.maketrans({character: " " for character in FILTERS})


class ModelDirectory:
    """A model directory of the reference architecture: configuration, vocabulary, weights."""

    def __init__(self, path):
        path = Path(path)
        self.config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        self.length = self.config["max_length"]
        self.tensors = load_file(path / "model.safetensors")
        lines = (path / "vocab.txt").read_text(encoding="utf-8").split("\n")
        self.ids = {word: number for number, word in enumerate(lines) if number > 2}
        bias = self.tensors["lstm.bias_ih_l0"]
        self.bias = bias + self.tensors.get("lstm.bias_hh_l0", np.zeros_like(bias))

    def encode(self, text):
        """The ids of a text by the rules of Keras's tokenizer, the start id in front."""
        words = text.lower().translate(SEPARATORS).split(" ")
        return [1] + [self.ids.get(word, 2) for word in words if word]

    def pad(self, ids):
        """One row of ids as the network reads it, [1, max_length]."""
        row = np.zeros((1, self.length), np.int64)
        ids = ids[-self.length :]
        row[0, self.length - len(ids) :] = ids
        return row

    def reference(self, row):
        """The probability of one padded row in 64-bit numpy: what every peer's answer is checked against."""
        w, u = self.tensors["lstm.weight_ih_l0"].astype("f8"), self.tensors["lstm.weight_hh_l0"].astype("f8")
        hidden = u.shape[1]
        h, c = np.zeros(hidden), np.zeros(hidden)
        for x in self.tensors["embedding.weight"][row[0]].astype("f8") @ w.T + self.bias:
            i, f, g, o = np.split(x + u @ h, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
        logit = self.tensors["classifier.weight"][0] @ h + self.tensors["classifier.bias"][0]
        return float(1 / (1 + np.exp(-logit)))


def read_ids(path):
    """The reviews of a JSONL file, as lists of ids."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["ids"] for line in file if line.strip()]


def full_review(reviews, length):
    """The last `length` ids of the first review that has so many; of several joined where none has."""
    for ids in reviews:
        if len(ids) >= length:
            return ids[-length:]
    joined = [number for ids in reviews for number in ids]
    return (joined * length)[:length]


def samples(work, seconds=1.0, at_least=5):
    """Runs `work` for about so many seconds after a warm-up; best and median time of one run."""
    started = time.perf_counter()
    work()
    once = time.perf_counter() - started
    if once > 10 * seconds:  # a setting that misfires is not worth minutes
        return {"best": once, "median": once, "runs": 1}
    for _ in range(min(20, int(0.2 * seconds / max(once, 1e-9)))):
        work()
    times = []
    started = time.perf_counter()
    while len(times) < at_least or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return {"best": min(times), "median": float(np.median(times)), "runs": len(times)}


# ---------------------------------------------------------------------------------------------------------------
# ONNX
# ---------------------------------------------------------------------------------------------------------------


def onnx_gates(array):
    """Gate rows input, forget, cell, output reordered as ONNX wants them: input, output, forget, cell."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def onnx_reference(model, sequence_first=False, with_state=False):
    """The reference model as ONNX bytes, the LSTM as one operator.

    `sequence_first` takes ids [time, batch] and saves a transposition; `with_state` takes the state to start from, as
    our own padding shortcut does.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    t, hidden = model.tensors, model.config["hidden_size"]
    w, r = onnx_gates(t["lstm.weight_ih_l0"]), onnx_gates(t["lstm.weight_hh_l0"])
    bias = onnx_gates(model.bias)
    constants = {
        "table": t["embedding.weight"],
        "w": w[None],
        "r": r[None],
        "b": np.concatenate([bias, np.zeros_like(bias)])[None],
        "first": np.array([0], np.int64),
        "dense": t["classifier.weight"],
        "dense_bias": t["classifier.bias"],
    }
    lstm_inputs = ["x", "w", "r", "b"]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [None, None])]
    if with_state:
        lstm_inputs += ["", "h0", "c0"]
        inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, hidden]) for name in ("h0", "c0")]
    nodes = [] if sequence_first else [helper.make_node("Transpose", ["ids"], ["ids_first"], perm=[1, 0])]
    nodes += [
        helper.make_node("Gather", ["table", "ids" if sequence_first else "ids_first"], ["x"]),
        helper.make_node("LSTM", lstm_inputs, ["", "last", "cell"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("Gemm", ["state", "dense", "dense_bias"], ["logit"], transB=1),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])]
    if with_state:
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, hidden]) for name in ("last", "cell")
        ]
    initializers = [
        numpy_helper.from_array(np.ascontiguousarray(value, value.dtype if value.dtype == np.int64 else "f4"), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "reference", inputs, outputs, initializers)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built)
    return built.SerializeToString()


def onnx_session(data, threads=1, spin=True):
    """A session with every graph optimization, so many threads, spinning between runs or not."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


# ---------------------------------------------------------------------------------------------------------------
# PyTorch and Keras
# ---------------------------------------------------------------------------------------------------------------


def torch_reference(model):
    """The reference model in PyTorch, ids [batch, time] to probabilities."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            c = model.config
            self.embedding = torch.nn.Embedding(c["vocab_size"], c["embedding_dim"])
            self.lstm = torch.nn.LSTM(c["embedding_dim"], c["hidden_size"], batch_first=True)
            self.classifier = torch.nn.Linear(c["hidden_size"], 1)

        def forward(self, ids):
            _, (last, _) = self.lstm(self.embedding(ids))
            return torch.sigmoid(self.classifier(last[0]))

    net = Net().eval().requires_grad_(False)
    tensors = {name: torch.tensor(np.array(value)) for name, value in model.tensors.items()}
    tensors.setdefault("lstm.bias_hh_l0", torch.zeros_like(tensors["lstm.bias_ih_l0"]))
    net.load_state_dict(tensors)
    return net


def keras_network(config):
    """The reference model in Keras as its tutorial states it, weights as Keras starts them."""
    import keras

    return keras.Sequential(
        [
            keras.Input((config["max_length"],), dtype="int32"),
            keras.layers.Embedding(config["vocab_size"], config["embedding_dim"]),
            keras.layers.LSTM(config["hidden_size"]),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def keras_reference(model):
    """The reference model in Keras with the directory's weights."""
    net, t = keras_network(model.config), model.tensors
    weights = [t["embedding.weight"], t["lstm.weight_ih_l0"].T, t["lstm.weight_hh_l0"].T, model.bias]
    net.set_weights([*weights, t["classifier.weight"].T, t["classifier.bias"]])
    return net


def quiet_tensorflow(threads):
    """Sets TensorFlow's threads; to be called before anything of it runs."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow
