"""Cuts the texts that `trainer texts` wrote into word pieces.

    python tokenize_texts.py texts.jsonl target/teacher/all-mpnet-base-v2/tokenizer.json pieces.npz
"""

import argparse
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

# What a text is; `source` in pieces.npz.
SOURCES = {"neg": 0, "pos": 1, "unsup": 2, "phrases": 3}
SPLITS = {None: 0, "train": 0, "validation": 1, "final": 2}
CHUNK_BYTES = 16 << 20


def pieces_of(job: tuple[str, str, int, int]) -> dict[str, np.ndarray]:
    """The lines of a file that begin in a range of its bytes."""
    path, tokenizer_path, start, end = job
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        rows = []
        while file.tell() < end and (line := file.readline()):
            rows.append(json.loads(line))
    encoded = tokenizer.encode_batch([row["text"] for row in rows])
    ids = [np.asarray(encoding.ids, dtype=np.uint16) for encoding in encoded]
    return {
        "ids": np.concatenate(ids) if ids else np.zeros(0, np.uint16),
        "length": np.array([len(piece) for piece in ids], dtype=np.int32),
        "source": np.array([SOURCES[row["id"].split("/")[0]] for row in rows], dtype=np.int8),
        "whole": np.array([":" not in row["id"] for row in rows], dtype=bool),
        "split": np.array([SPLITS[row.get("split")] for row in rows], dtype=np.int8),
        "film": np.array([row.get("film", -1) for row in rows], dtype=np.int64),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    size = arguments.texts.stat().st_size
    jobs = [
        (str(arguments.texts), str(arguments.tokenizer), start, min(start + CHUNK_BYTES, size))
        for start in range(0, size, CHUNK_BYTES)
    ]
    with multiprocessing.get_context("spawn").Pool(min(arguments.processes, len(jobs))) as pool:
        parts = pool.map(pieces_of, jobs, chunksize=1)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    np.savez(arguments.output, **columns)
    print(f"{len(columns['length'])} texts, {len(columns['ids'])} pieces in {arguments.output}")


if __name__ == "__main__":
    main()
