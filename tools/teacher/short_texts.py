"""Makes short labelled texts, for `trainer calibrate --by-length`, of Liu's collections (CC BY 4.0).

    python short_texts.py product_reviews_1.zip product_reviews_2.zip pros_cons.zip short_texts.jsonl

Sentences of product reviews whose features were all judged alike, and as many phrases of "pros" and "cons", drawn with a
fixed seed.
"""

import argparse
import html
import json
import random
import re
import zipfile
from pathlib import Path

PHRASES = {"pros_cons/IntegratedPros.txt": ("Pros", 1), "pros_cons/IntegratedCons.txt": ("Cons", 0)}


def sentences(archive: zipfile.ZipFile) -> list[dict]:
    """Lines such as `battery[+2], size[-1]##text`, those that say only good or only bad."""
    rows = []
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if not info.filename.endswith(".txt") or "README" in info.filename:
            continue
        for line in archive.read(info).decode("latin-1").splitlines():
            tags, found, text = line.partition("##")
            signs = set(re.findall(r"\[([+-])\d\]", tags))
            if found and not line.startswith("[t]") and len(signs) == 1 and text.strip():
                rows.append({"text": text.strip(), "label": int("+" in signs)})
    return rows


def phrases(archive: zipfile.ZipFile) -> list[dict]:
    """What stands between the tags of the two files."""
    rows = []
    for name, (tag, label) in PHRASES.items():
        text = archive.read(name).decode("latin-1")
        for phrase in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            # Entities were escaped twice.
            phrase = " ".join(html.unescape(html.unescape(phrase)).split())
            if phrase:
                rows.append({"text": phrase, "label": label})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    told, listed = [], []
    for path in arguments.archives:
        with zipfile.ZipFile(path) as archive:
            of_phrases = any(name in PHRASES for name in archive.namelist())
            (listed if of_phrases else told).extend((phrases if of_phrases else sentences)(archive))
    if listed and told:
        listed = random.Random(1).sample(listed, min(len(listed), len(told)))
    with arguments.output.open("w", encoding="utf-8") as output:
        output.writelines(json.dumps(row) + "\n" for row in told + listed)
    print(f"{len(told)} sentences and {len(listed)} phrases in {arguments.output}")


if __name__ == "__main__":
    main()
