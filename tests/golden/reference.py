"""The model in plain numpy and 64-bit floats: what the golden data of Keras and PyTorch are checked against.

pip install numpy
"""

import json
import struct

import numpy as np

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def words_of(text):
    """The words of `text`: lower-cased, every filtered character a space, split on single spaces."""
    text = text.lower().translate({ord(character): " " for character in FILTERS})
    return [word for word in text.split(" ") if word]


class ModelDirectory:
    """A model directory read without any library of ours or theirs, and its forward pass."""

    def __init__(self, path):
        self.config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        lines = (path / "vocab.txt").read_bytes().decode("utf-8").split("\n")
        assert lines.pop() == "" and len(lines) == self.config["vocab_size"], f"{path}/vocab.txt"
        self.ids = {word: number for number, word in enumerate(lines) if number > 2}
        raw = (path / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + length])
        self.metadata = header.pop("__metadata__", {})
        body = raw[8 + length :]
        self.tensors = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            assert entry["dtype"] == "F32", name
            self.tensors[name] = np.frombuffer(body[start:end], "<f4").reshape(entry["shape"])

    def encode(self, text):
        """The ids of a text, start id included, before truncation and padding."""
        return [1] + [self.ids.get(word, 2) for word in words_of(text)]

    def input_ids(self, ids):
        """What the network reads: the last `max_length` ids, with zeros in front where the configuration pads."""
        ids = ids[-self.config["max_length"] :]
        if self.config["padding"] == "pre":
            ids = [0] * (self.config["max_length"] - len(ids)) + ids
        return ids

    def logit(self, input_ids):
        """The logit of one review."""
        t = {name: array.astype(np.float64) for name, array in self.tensors.items()}
        states = t["embedding.weight"][input_ids]  # [time, inputs]
        suffixes = ["", "_reverse"] if self.config["bidirectional"] else [""]
        for layer in range(self.config["num_layers"]):
            read = []
            for suffix in suffixes:
                tail = f"l{layer}{suffix}"
                bias = t[f"lstm.bias_ih_{tail}"] + t.get(f"lstm.bias_hh_{tail}", 0.0)
                order = slice(None, None, -1 if suffix else 1)
                run = lstm(states[order], t[f"lstm.weight_ih_{tail}"], t[f"lstm.weight_hh_{tail}"], bias)
                read.append(run[order])
            states = np.concatenate(read, axis=1)  # [time, directions * hidden]
        hidden = self.config["hidden_size"]
        if self.config["pooling"] == "max_mean":
            features = np.concatenate([states.max(axis=0), states.mean(axis=0)])
        else:  # the last state of each direction: the backward one ends at the first word
            features = np.concatenate([states[-1, :hidden], states[0, hidden:]])
        return float(t["classifier.weight"][0] @ features + t["classifier.bias"][0])


def lstm(inputs, weight_ih, weight_hh, bias):
    """The hidden states [time, hidden] of one direction over `inputs` [time, inputs]."""
    hidden = weight_hh.shape[1]
    h, c, states = np.zeros(hidden), np.zeros(hidden), []
    for x in inputs:
        i, f, g, o = np.split(weight_ih @ x + weight_hh @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))
