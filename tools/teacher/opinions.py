"""Writes the logits of judged texts as opinions for `trainer train --opinions`.

    python opinions.py texts.jsonl logits.npy opinions.safetensors          # compact: ids and 16-bit logits, no text
    python opinions.py texts.jsonl logits.npy opinions.jsonl                # for people

The compact form is described in src/train/data/opinions.rs. Several files of logits are averaged, each by its weight
(`--weight`, one for each file). Texts without a logit are left out.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SOURCES = {"neg": 0, "pos": 1, "unsup": 2, "phrases": 3}


def parsed(text_id: str) -> tuple[int, int, int]:
    """`4 number + source`, start and length; length 0 is the whole text."""
    source, place = text_id.split("/")
    number, _, stretch = place.partition(":")
    start, _, end = stretch.partition("-")
    return 4 * int(number) + SOURCES[source], int(start or 0), int(end or 0) - int(start or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("logits", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weight", type=float, action="append")
    parser.add_argument("--kind", choices=["all", "whole", "stretches"], default="all")
    parser.add_argument("--split", choices=["train", "validation", "final"], default="train")
    parser.add_argument("--short-scale", type=float, help="factor of the logits of stretches and phrases, for the trainer")
    parser.add_argument("--parts", type=int, default=1, help="files to write, named -1, -2 …, so that none is large")
    arguments = parser.parse_args()
    weights = arguments.weight or [1 / len(arguments.logits)] * len(arguments.logits)
    logits = sum(weight * np.load(path).astype(np.float32) for weight, path in zip(weights, arguments.logits, strict=True))
    rows = []
    with open(arguments.texts, encoding="utf-8") as texts:
        for line, logit in zip(texts, logits, strict=True):
            row = json.loads(line)
            whole = ":" not in row["id"]
            wanted = arguments.kind == "all" or whole == (arguments.kind == "whole")
            if wanted and not np.isnan(logit) and row.get("split", "train") == arguments.split:
                rows.append((row["id"], row["digest"], np.float16(np.clip(logit, -16, 16))))
    size = -(-len(rows) // arguments.parts)
    for part in range(arguments.parts):
        path = arguments.output
        if arguments.parts > 1:
            path = path.with_name(f"{path.stem}-{part + 1}{path.suffix}")
        write(path, rows[part * size : (part + 1) * size], arguments.short_scale)


def write(path: Path, rows: list[tuple[str, str, np.float16]], short_scale: float | None) -> None:
    if path.suffix == ".jsonl":
        def scaled(text_id: str, logit: np.float16) -> float:
            short = ":" in text_id or text_id.startswith("phrases")
            return float(np.float32(logit) * np.float32(short_scale if short and short_scale else 1))

        lines = (json.dumps({"id": text_id, "logit": scaled(text_id, logit)}) for text_id, _, logit in rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        review, start, length = np.array([parsed(text_id) for text_id, _, _ in rows], dtype=np.int64).reshape(-1, 3).T
        assert start.max(initial=0) < 1 << 16 and length.max(initial=0) < 1 << 16, "a text is longer than 65,535 bytes"
        first = np.flatnonzero(np.diff(review, prepend=-1))
        digest = hashlib.sha256("".join(digest for _, digest, _ in rows).encode()).hexdigest()
        columns = {
            "review": review[first].astype(np.uint32),
            "count": np.diff(first, append=len(review)).astype(np.uint16),
            "start": start.astype(np.uint16),
            "length": length.astype(np.uint16),
            "logit": np.array([logit for _, _, logit in rows], dtype=np.float16),
        }
        metadata = {"texts_sha256": digest}
        if short_scale:
            metadata["short_scale"] = str(short_scale)
        save_file(columns, path, metadata=metadata)
    print(f"{len(rows)} opinions in {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
