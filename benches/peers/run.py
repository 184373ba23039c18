#!/usr/bin/env python3
"""Measures this project and its peers in one go and prints a table of ratios.

    python3 benches/peers/run.py --data aclImdb_train.tar.gz                # everything
    python3 benches/peers/run.py --data aclImdb_train.tar.gz --only a b     # some rows

Only the standard library is needed here: the peers live in a virtual environment that this script makes from
`requirements.txt`. Rounds alternate: ours, then each peer in a process of its own, then ours again, so that a machine
that is busy for a while slows both sides. Figures are the best of all rounds, and the median of the rounds' medians.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# 20,000 reviews in batches of 128: an epoch of candle-nn is reckoned from its measured step.
TRAIN_STEPS = 157


class Line:
    """One line of the table: a peer's settings to choose from, our figure, and the goal for their ratio."""

    def __init__(self, row, work, title, peer, picks, ours, goal=None):
        self.row, self.work, self.title, self.peer = row, work, title, peer
        self.picks, self.ours, self.goal = picks, ours, goal


def named(*starts, lacks=()):
    """Picks the settings whose names begin with one of `starts` and hold none of `lacks`."""
    return lambda name: name.startswith(starts) and not any(word in name for word in lacks)


def every(name):
    """Picks every setting."""
    return True


FULL = "one full review, 500 tokens, 1 thread"
REAL = "2,000 real reviews one by one, 1 thread"
ALL = "25,000 reviews, all cores"
EPOCH = "one epoch of the reference preset, 2 threads"
WIDE = "E = H = 256, both directions, 32 real reviews"
FORWARD, STEP = f"{WIDE}: forward", f"{WIDE}: training step"
FORWARD_8 = f"{WIDE}: forward, ours in 8 bits"
DEFAULT = "`models/imdb`: 500 real reviews one by one, 1 thread"
PADDED = "padded (another answer)"
LINES = [
    Line("a", FULL, "ONNX Runtime, best setting", "onnxruntime", every, "one_review_500", 7),
    Line("a", FULL, "PyTorch nn.LSTM, best setting", "torch", every, "one_review_500", 30),
    Line("a", FULL, "Keras, tf.function", "keras", lambda name: name == "tf.function", "one_review_500"),
    Line("a", FULL, "Keras, tf.function, XLA", "keras", named("tf.function, XLA"), "one_review_500"),
    Line("a", FULL, "Keras, model.predict", "keras", named("model.predict"), "one_review_500"),
    Line("b", REAL, "ONNX Runtime, padded", "onnxruntime", named("padded"), "reviews_2000", 14),
    Line("b", REAL, "ONNX Runtime, lent our idea", "onnxruntime", named("real length"), "reviews_2000"),
    Line("b", REAL, "PyTorch nn.LSTM, padded", "torch", every, "reviews_2000"),
    Line("c", ALL, "ONNX Runtime, best batch, no tokenizer", "onnxruntime", every, "reviews_25000_end_to_end"),
    Line("d", EPOCH, "Keras, best setting", "keras", every, "train_epoch_reference", 7),
    Line("e", FORWARD, "PyTorch, packed", "torch", named("forward, packed"), "big_forward_32", 1),
    Line("e", FORWARD, f"PyTorch, {PADDED}", "torch", named("forward, padded"), "big_forward_32", 1),
    Line("e", FORWARD, "ONNX Runtime, best setting", "onnxruntime", every, "big_forward_32", 1),
    Line("e", STEP, "PyTorch, packed", "torch", named("training step, packed"), "big_train_step_32", 1.5),
    Line("e", STEP, f"PyTorch, {PADDED}", "torch", named("training step, padded"), "big_train_step_32", 1.5),
    Line("e", FORWARD_8, "ONNX Runtime in 32 bits, best setting", "onnxruntime", every, "big_forward_32_int8", 15),
    Line("f", DEFAULT, "ONNX Runtime, its LSTM alone", "onnxruntime", named("real length"), "default_500", 8),
    Line("f", DEFAULT, "ONNX Runtime, its LSTM alone", "onnxruntime", named("8 bits"), "default_500", 4),
    Line("f", DEFAULT, "PyTorch, its LSTM alone", "torch", named("oneDNN", "own kernels"), "default_500"),
    Line("f", DEFAULT, "PyTorch, its LSTM alone", "torch", named("8 bits"), "default_500"),
]
# Row, what, the key of a figure of ours that is the other side, its factor, our key, the goal.
OWN_LINES = [
    ("a", FULL, "candle-nn", "candle_nn_one_review_500", 1, "one_review_500", 800),
    ("d", EPOCH, "candle-nn", "candle_nn_train_step_128", TRAIN_STEPS, "train_epoch_reference", 100),
]


def peers_of(row, threads):
    """The processes of one row: (peer, threads)."""
    return {
        "a": [("onnxruntime", 1), ("torch", 1), ("keras", 1)],
        "b": [("onnxruntime", 1), ("torch", 1)],
        "c": [("onnxruntime", threads)],
        "d": [("keras", 2)],
        "e": [(peer, count) for peer in ("torch", "onnxruntime") for count in (1, 2)],
        "f": [("onnxruntime", 1), ("torch", 1)],
    }[row]


# ---------------------------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------------------------


def prepare_venv(folder, given):
    """The Python of the peers' environment, made and filled where needed."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    requirements = HERE / "requirements.txt"
    wanted = [line.split("#")[0].strip() for line in requirements.read_text().splitlines()]
    probe = (
        "import sys, importlib.metadata as m\n"
        "for pin in sys.argv[1:]:\n"
        "    name, version = pin.split('==')\n"
        "    try: found = m.version(name.split('[')[0]).split('+')[0]\n"
        "    except m.PackageNotFoundError: found = 'absent'\n"
        "    if found != version: print(f'{name} {found}, pinned {version}')\n"
    )
    command = [python, "-c", probe, *filter(None, wanted)]
    other = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if other and given:
        print(f"{folder} differs from requirements.txt: {'; '.join(other.splitlines())}", file=sys.stderr)
    elif other:
        print(f"installing the peers into {folder} (a few gigabytes)", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return python


def run_json(command, environment=None, limit=1800):
    """Runs a command and reads the JSON object that it prints; None when it fails."""
    command = [str(part) for part in command]
    try:
        process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=limit)
    except subprocess.TimeoutExpired:
        print(f"  given up after {limit} s", file=sys.stderr)
        return None
    if process.returncode != 0:
        reason = process.stderr.strip().splitlines() or ["no message"]
        print(f"  failed ({process.returncode}): {reason[-1]}", file=sys.stderr)
        return None
    text = process.stdout.strip()
    return json.loads(text[text.index("{") :])


def run_rounds(arguments, python, bench):
    """All rounds: a list of our figures, and for each (row, peer) the settings with their figures of each round."""
    ours, peers = [], {}
    side = [*bench, "--model", arguments.model, "--data", arguments.data, "--work", arguments.work]
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}: ours", file=sys.stderr)
        figures = run_json(side)
        if figures is None:
            raise SystemExit("our own side failed")
        ours.append(figures)
        for row in arguments.only:
            for peer, threads in peers_of(row, arguments.threads):
                print(f"  row {row}: {peer}, {threads} threads", file=sys.stderr)
                command = [python, HERE / "measure.py", "--row", row, "--peer", peer, "--threads", threads]
                command += ["--model", arguments.model, "--work", arguments.work]
                environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
                for setting, figure in (run_json(command, environment) or {}).items():
                    peers.setdefault((row, peer), {}).setdefault(setting, []).append(figure)
    return ours, peers


# ---------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------


def summary(figures):
    """Best of all rounds and median of the rounds' medians."""
    return min(f["best"] for f in figures), statistics.median(f["median"] for f in figures)


def own(ours, key, factor=1):
    """Best and median of a figure of ours over the rounds, or None where our side did not measure it."""
    values = [figures[key] * factor for figures in ours if figures.get(key) is not None]
    return (min(values), statistics.median(values)) if values else None


def duration(seconds):
    """A time with three figures and its unit."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def verdict(ratio, goal):
    """The goal, and whether it was reached."""
    if goal is None:
        return "", ""
    return f"{goal:g} times" if goal > 1 else "as fast", "yes" if ratio >= goal else "no"


def times(ratio):
    """A ratio with three figures."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def ratio_rows(arguments, ours, peers):
    """The lines of the table of ratios as dictionaries."""
    rows = []
    for line in LINES:
        settings = {name: f for name, f in peers.get((line.row, line.peer), {}).items() if line.picks(name)}
        mine = own(ours, line.ours)
        if line.row not in arguments.only or not settings or mine is None:
            continue
        # Their best setting is the one that gives them the best time of all rounds.
        name, figures = min(settings.items(), key=lambda item: summary(item[1])[0])
        # Of the setting's name, what the line does not say already.
        new = [part for part in name.split(", ") if part not in line.title and part not in line.work]
        title = f"{line.title} ({', '.join(new)})" if new else line.title
        rows.append(ratio_row(line.row, line.work, title, summary(figures), mine, line.goal))
    for row, work, title, key, factor, our_key, goal in OWN_LINES:
        theirs, mine = own(ours, key, factor), own(ours, our_key)
        if row in arguments.only and theirs and mine:
            rows.append(ratio_row(row, work, title, theirs, mine, goal))
    return sorted(rows, key=lambda row: row["row"])


def ratio_row(row, work, title, theirs, mine, goal):
    """One line of the table of ratios."""
    return {
        "row": row, "work": work, "peer": title, "goal": goal,
        "theirs_best": theirs[0], "theirs_median": theirs[1], "ours_best": mine[0], "ours_median": mine[1],
        "ratio_best": theirs[0] / mine[0], "ratio_median": theirs[1] / mine[1],
    }  # fmt: skip


def limits(arguments, ours):
    """What is not a ratio to a peer (limit, rates, memory): row, what, figure, goal, whether it was reached."""

    def figures_of(key):
        return [figures[key] for figures in ours if figures.get(key) is not None]

    lines = []
    for row, key, goal in [("a", "one_review_500", None), ("b", "reviews_2000", 1.6)]:
        mine, bound = (
            figures_of(key),
            figures_of(key.replace("one_review", "mac_limit").replace("reviews", "mac_limit")),
        )
        if mine and bound:
            factor = min(mine) / min(bound)
            what = f"{key}, times the multiply-add limit of {duration(min(bound))}"
            lines.append((row, what, f"{factor:.2f}", goal and f"at most {goal}", goal and factor <= goal))
    if whole := figures_of("reviews_25000_end_to_end"):
        cores = ours[0].get("threads") or 1
        rate = 25_000 / min(whole) / cores
        what = f"reviews a second and core, tokenizing included ({cores} threads)"
        lines.append(("c", what, f"{rate:,.0f}", "over 60,000", rate > 60_000))
    if rates := figures_of("tokenizer_bytes_per_second"):
        lines.append(("c", "tokenizer, MB/s", f"{max(rates) / 1e6:.0f}", "at least 300", max(rates) >= 300e6))
    if peaks := figures_of("train_peak_memory_bytes"):
        lines.append(("d", "training, peak memory, MB", f"{max(peaks) / 1e6:.0f}", "under 1,000", max(peaks) < 1e9))
    return [line for line in lines if line[0] in arguments.only]


def markdown(arguments, ours, peers):
    """The two tables."""
    out = [
        "| work | compared with | theirs | ours | ratio (of medians) | goal | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ratio_rows(arguments, ours, peers):
        goal, reached = verdict(row["ratio_best"], row["goal"])
        cells = [
            row["work"], row["peer"], duration(row["theirs_best"]), duration(row["ours_best"]),
            f"{times(row['ratio_best'])} ({times(row['ratio_median'])})", goal, reached,
        ]  # fmt: skip
        out.append("| " + " | ".join(cells) + " |")
    others = limits(arguments, ours)
    if others:
        out += ["", "| ours | figure | goal | reached |", "|---|---|---|---|"]
        for _, what, figure, goal, reached in others:
            out.append(f"| {what} | {figure} | {goal or ''} | {'' if goal is None else 'yes' if reached else 'no'} |")
    return "\n".join(out)


def main():
    """Prepares, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures this project and its peers and prints a table of ratios.")
    parser.add_argument("--data", type=Path, required=True, help="the reviews: aclImdb archive or folder")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "keras-imdb", help="reference model directory")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers-work", help="folder for shared reviews")
    parser.add_argument("--venv", type=Path, help="an environment to reuse; default: target/peers-venv, made if absent")
    parser.add_argument(
        "--only", nargs="+", choices=list("abcdef"), default=list("abcdef"), metavar="ROW", help="a b c d e f"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores for row c")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every figure of every round")
    parser.add_argument("--bench-command", metavar="COMMAND", help="what prints our figures; default: cargo bench")
    arguments = parser.parse_args()
    for name in ("data", "model", "work"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    arguments.work.mkdir(parents=True, exist_ok=True)

    python = prepare_venv((arguments.venv or ROOT / "target" / "peers-venv").absolute(), arguments.venv is not None)
    if arguments.bench_command:
        bench = shlex.split(arguments.bench_command)
    else:
        subprocess.run(["cargo", "bench", "--bench", "peer_side", "--no-run"], check=True, cwd=ROOT)
        bench = ["cargo", "bench", "-q", "--bench", "peer_side", "--"]
    load = os.getloadavg()[0]
    if load > 0.3:
        print(f"the machine is busy (load {load:.1f}): figures will be worse and less even", file=sys.stderr)

    started = time.time()
    ours, peers = run_rounds(arguments, python, bench)
    table = markdown(arguments, ours, peers)
    print(f"{ours[0].get('cpu', 'unknown processor')}, {os.cpu_count()} cores; best of {arguments.rounds} rounds\n")
    print(table)
    if arguments.json:
        record = {
            "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "load_before": load,
            "ours": ours,
            "peers": [{"row": row, "peer": peer, "settings": s} for (row, peer), s in peers.items()],
            "ratios": ratio_rows(arguments, ours, peers),
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
