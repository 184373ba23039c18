"""Makes of a trained model what `trainer train --vectors` starts from, under another vocabulary.

    python start_from.py models/imdb vectors/vocab.txt start

Words that both have keep their vectors; a token that the model did not know (a class such as `<number>`, a piece of a
word) starts as the model's unknown word. The LSTM is taken over.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    tensors = {name: value.astype(np.float32) for name, value in load_file(arguments.model / "model.safetensors").items()}
    old = {word: at for at, word in enumerate((arguments.model / "vocab.txt").read_text("utf-8").split("\n"))}
    text = arguments.vocabulary.read_text("utf-8")
    words = text.removesuffix("\n").split("\n")
    places = [old.get(word, old["<unknown>"]) for word in words]
    start = {name: value for name, value in tensors.items() if name.startswith("lstm.")}
    start["embedding.weight"] = tensors["embedding.weight"][places]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "vocab.txt").write_text(text, "utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    save_file(start, arguments.output / "vectors.safetensors", metadata={"vocab_sha256": digest})
    print(f"{sum(word in old for word in words)} of {len(words)} words are known to {arguments.model}")


if __name__ == "__main__":
    main()
