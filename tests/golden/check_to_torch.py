"""Compares what tools/to_torch.py loads with the plain numpy model: `python3 tests/golden/check_to_torch.py`.

pip install torch numpy
"""

import pathlib
import sys

import torch
from reference import ModelDirectory

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tools"))
import to_torch  # noqa: E402


def main():
    worst = 0.0
    for path in sorted((HERE / "models").iterdir()):
        plain, network = ModelDirectory(path), to_torch.load(path)
        for text in ["a good film", "awful acting and a dull plot, and not a good word about the rest of it"]:
            ids = plain.input_ids(plain.encode(text))
            with torch.no_grad():
                worst = max(worst, abs(network(torch.tensor([ids])).item() - plain.logit(ids)))
        print(path.name, worst)
    assert worst < 1e-5, worst


if __name__ == "__main__":
    main()
