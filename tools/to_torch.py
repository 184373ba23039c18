#!/usr/bin/env python3
"""Writes the network of a model directory as a state dict that PyTorch loads, and checks it on ids of its own.

    pip install torch numpy
    python3 tools/to_torch.py models/imdb network.pt               # the state dict
    python3 tools/to_torch.py models/imdb network.pt --onnx network.onnx

The names are PyTorch's already (`lstm.weight_ih_l0`, ...); what is done here is the layout of the file: 16-bit weights
become 32-bit ones, a bias that is left out becomes zeros. `Network` below is the module that loads it: ids `[batch, time]`
in, logits out. The table of n-grams (`ngrams.safetensors`), whose score is added to the logit, the temperature and bias of
`config.json`, and how it tells short texts (`short_texts`, `subjectivity.*`) stay outside: `(network + table) / temperature + bias` is the model's logit.
"""

import argparse
import json
import pathlib
import struct

import numpy as np
import torch

TYPES = {"F32": "<f4", "F16": "<f2"}


class Network(torch.nn.Module):
    """Embedding, LSTM, pooling and classifier of a model directory, by its configuration."""

    def __init__(self, config):
        super().__init__()
        directions = 2 if config.get("bidirectional", False) else 1
        self.max_mean = config.get("pooling", "last") == "max_mean"
        self.hidden = config["hidden_size"]
        self.embedding = torch.nn.Embedding(config["vocab_size"], config["embedding_dim"])
        self.lstm = torch.nn.LSTM(
            config["embedding_dim"], self.hidden, config.get("num_layers", 1), batch_first=True, bidirectional=directions == 2
        )
        self.classifier = torch.nn.Linear(directions * self.hidden * (2 if self.max_mean else 1), 1)

    def forward(self, ids):
        states, _ = self.lstm(self.embedding(ids))  # [batch, time, directions * hidden]
        if self.max_mean:
            features = torch.cat([states.amax(1), states.mean(1)], 1)
        else:  # the last state of each direction: the backward one ends at the first word
            features = torch.cat([states[:, -1, : self.hidden], states[:, 0, self.hidden :]], 1)
        return self.classifier(features)[:, 0]


def read_tensors(path):
    """The tensors of a safetensors file as 32-bit floats by name."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":  # the upper half of a 32-bit float
            values = (np.frombuffer(raw[start:end], "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw[start:end], TYPES[entry["dtype"]]).astype(np.float32)
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def load(directory):
    """The network of a model directory with its weights."""
    directory = pathlib.Path(directory)
    network = Network(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items() if name.startswith("lstm.bias_hh")}
    tensors = read_tensors(directory / "model.safetensors")
    state.update((name, value) for name, value in tensors.items() if not name.startswith("subjectivity."))
    network.load_state_dict(state)
    return network.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the model directory")
    parser.add_argument("output", help="the file to write, such as network.pt")
    parser.add_argument("--onnx", metavar="FILE", help="write the network as ONNX too (pip install onnx)")
    arguments = parser.parse_args()
    network = load(arguments.model)
    torch.save(network.state_dict(), arguments.output)
    ids = torch.tensor([[1, *range(3, 10)]])
    print(f"wrote {arguments.output}; the logit of ids {ids[0].tolist()} is {network(ids).item():.6f}")
    if arguments.onnx:
        axes = {"ids": {0: "batch", 1: "time"}, "logit": {0: "batch"}}
        torch.onnx.export(network, (ids,), arguments.onnx, input_names=["ids"], output_names=["logit"], dynamic_axes=axes)


if __name__ == "__main__":
    main()
