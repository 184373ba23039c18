"""Makes a file of phrases, one a line, from `pros_cons.zip` (Bing Liu, Minqing Hu and others, CC BY 4.0).

    python phrases.py pros_cons.zip phrases.txt          # for trainer texts --phrases phrases.txt
"""

import argparse
import html
import re
import zipfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    phrases = []
    with zipfile.ZipFile(arguments.archive) as archive:
        for name in ("IntegratedPros.txt", "IntegratedCons.txt"):
            text = archive.read(f"pros_cons/{name}").decode("latin-1")
            for phrase in re.findall(r"<(?:Pros|Cons)>(.*?)</(?:Pros|Cons)>", text, re.DOTALL):
                # Entities were escaped twice.
                phrases.append(" ".join(html.unescape(html.unescape(phrase)).split()))
    arguments.output.write_text("\n".join(phrases) + "\n", encoding="utf-8")
    print(f"{len(phrases)} phrases in {arguments.output}")


if __name__ == "__main__":
    main()
