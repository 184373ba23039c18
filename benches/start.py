#!/usr/bin/env python3
"""How long a server takes from its spawn to `listening`, and what it holds at rest.

    cargo build --release --bin server
    python3 benches/start.py [--model models/imdb] [--starts 25] [SERVER …]

Several servers start in turns, so that whatever else the machine does meets all of them. Memory is read half a second after
the line.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

RELEASE = Path(__file__).resolve().parent.parent / "target/release/server"


def start(server: str, model: str) -> tuple[float, float]:
    """Milliseconds to the line, MiB at rest."""
    began = time.monotonic()
    command = [server, "--port", "0", "--model", model]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError as error:
        raise SystemExit(f"error: {error}; cargo build --release --bin server makes one") from None
    with process:
        try:
            line = process.stdout.readline()
            took = 1e3 * (time.monotonic() - began)
            if not line.startswith("listening"):
                raise SystemExit(f"error: {server} does not listen")
            time.sleep(0.5)
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            (resident,) = (int(row.split()[1]) for row in status if row.startswith("VmRSS:"))
            return took, resident / 1024
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", default=[str(RELEASE)], metavar="SERVER")
    parser.add_argument("--model", default=str(RELEASE.parents[2] / "models/imdb"))
    parser.add_argument("--starts", type=int, default=25)
    arguments = parser.parse_args()
    measured: dict[str, list[tuple[float, float]]] = {server: [] for server in arguments.servers}
    for _ in range(arguments.starts):
        for server, figures in measured.items():
            figures.append(start(server, arguments.model))
    for server, figures in measured.items():
        times, memory = zip(*figures, strict=True)
        print(
            f"{server}: listening after {statistics.median(times):.1f} ms (median of {len(times)}; "
            f"{min(times):.1f} to {max(times):.1f}), {statistics.median(memory):.1f} MiB at rest"
        )


if __name__ == "__main__":
    main()
