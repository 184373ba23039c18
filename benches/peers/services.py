#!/usr/bin/env python3
"""Measures the services beside each other, the server on one core and its load on another, and prints a table.

    python3 benches/peers/services.py                                   # all of them, three rounds
    python3 benches/peers/services.py --only ours bare --seconds 1 --rounds 1

Ours, a bare axum handler, and the same model behind FastAPI and uvicorn, run by ONNX Runtime and by Keras. All get the
same reviews in the same bodies from the same load generator (`cargo bench --bench http`). Only the standard library is
needed here; the peers live in the virtual environment of `run.py`.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from run import HERE, ROOT, duration, prepare_venv, times

CONNECTIONS = 16
# Time for a peer to load its libraries, and for XLA to compile.
START_SECONDS = 180
# Every model service must agree on these before its speed counts.
PROBES = [
    "A gripping, beautifully shot film with a wonderful cast. I loved every minute of it.",
    "Dull from start to end, badly acted and a waste of time.",
    "The plot is thin; still, it has its moments " + "and the music is good " * 120,
]
TOLERANCE = 1e-4


def on_core(core, command):
    """The command, bound to one core where the system can."""
    command = [str(part) for part in command]
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command


def build():
    """Builds load generator and server; where both lie."""
    command = ["cargo", "bench", "--bench", "http", "--no-run", "--message-format", "json-render-diagnostics"]
    lines = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = {}
    for message in map(json.loads, lines):
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    return found["http"], found["server"]


class Service:
    """One service: how it is started, and whether it answers with the model's probabilities."""

    def __init__(self, name, title, command, announces=True, scores=True):
        self.name, self.title, self.command = name, title, command
        # Those of ours print the address that the system gave them; the others are told one.
        self.announces, self.scores = announces, scores

    @contextlib.contextmanager
    def running(self):
        """The process on core 0, and the address at which it answers."""
        if self.announces:
            process = subprocess.Popen(on_core(0, self.command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        else:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
            command = on_core(0, [*self.command, "--port", port])
            process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
        try:
            if self.announces:
                address = process.stdout.readline().decode().strip().rsplit("//", 1)[-1]
            else:
                address = f"127.0.0.1:{port}"
                wait_for(address, process)
            yield process, address
        finally:
            process.kill()
            process.communicate()


def wait_for(address, process):
    """Waits until something listens at the address."""
    host, port = address.split(":")
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        if process.poll() is not None:
            reason = process.stderr.read().decode().strip().splitlines() or ["no message"]
            raise SystemExit(f"the service ended before it listened: {reason[-1]}")
        if time.monotonic() > end:
            raise SystemExit(f"the service does not listen after {START_SECONDS} s")
        time.sleep(0.1)


def probabilities(address):
    """What a service says of the probes."""
    found = []
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for text in PROBES:
        body = json.dumps({"text": text}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://{address}/predict", body, headers)
        with opener.open(request, timeout=60) as answer:
            found.append(json.load(answer)["probabilities"]["positive"])
    return found


def resident_mib(process):
    """Memory that a process holds now; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def load(bench, address, arguments, rate):
    """The figures of one load from core 1; rate 0 is as fast as it goes."""
    command = [bench, "load", address, arguments.model, CONNECTIONS, arguments.seconds, rate]
    done = subprocess.run(on_core(1, command), check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    if figures["failed"] or figures["refused"]:
        print(f"  {figures['failed']} failed, {figures['refused']} refused", file=sys.stderr)
    return figures


def measure(service, bench, arguments, reference):
    """One round of one service: full load, then half of what it took."""
    with service.running() as (process, address):
        if service.scores:
            found = probabilities(address)
            reference = reference or found
            if any(abs(a - b) > TOLERANCE for a, b in zip(found, reference)):
                raise SystemExit(f"{service.title} answers {found}, the first service {reference}")
        # The first load warms up what compiles or traces by itself.
        load(bench, address, argparse.Namespace(model=arguments.model, seconds=0.5), 0)
        full = load(bench, address, arguments, 0)
        half = load(bench, address, arguments, full["per_second"] / 2)
        if service.scores and max(full["most_answers_of_a_review"], half["most_answers_of_a_review"]) > 1:
            print(f"  {service.title} gave one review several answers", file=sys.stderr)
        figures = {"full": full, "half": half, "resident_mib": resident_mib(process)}
    return figures, reference


def markdown(services, rounds):
    """The table: best rate of all rounds, the median of the rounds' latencies."""
    out = [
        "| service | requests/s | ours, times | p50 at half load | p99 at half load | p50 and p99 of ours, times | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = {}
    for service in services:
        figures = [found[service.name] for found in rounds]
        rows[service.name] = (
            max(f["full"]["per_second"] for f in figures),
            statistics.median(f["half"]["p50_ms"] for f in figures),
            statistics.median(f["half"]["p99_ms"] for f in figures),
            max(f["resident_mib"] for f in figures),
        )
    ours = rows.get("ours")
    for service in services:
        rate, p50, p99, memory = rows[service.name]
        faster = times(ours[0] / rate) if ours else ""
        slower = f"{times(p50 / ours[1])}; {times(p99 / ours[2])}" if ours else ""
        cells = [service.title, f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}", faster]
        cells += [duration(p50 / 1e3), duration(p99 / 1e3), slower, f"{memory:.0f}"]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def main():
    """Prepares, measures, prints."""
    names = ["ours", "bare", "onnx", "keras-predict", "keras-function", "keras-xla"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "keras-imdb", help="reference model directory")
    parser.add_argument("--venv", type=Path, help="an environment to reuse; default: target/peers-venv, made if absent")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SERVICE", help=" ".join(names))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every figure of every round")
    arguments = parser.parse_args()
    arguments.model = arguments.model.resolve()

    bench, server = build()
    peers = any(name not in ("ours", "bare") for name in arguments.only)
    given = arguments.venv is not None
    folder = (arguments.venv or ROOT / "target" / "peers-venv").absolute()
    python = prepare_venv(folder, given) if peers else sys.executable
    onnx = [python, HERE / "serve_onnx.py", "--model", arguments.model]
    keras = [python, HERE / "serve_keras.py", "--model", arguments.model, "--call"]
    every = [
        Service("ours", "ours", [server, "--port", "0", "--model", arguments.model]),
        Service("bare", "bare axum handler, no model", [bench, "bare"], scores=False),
        Service("onnx", "ONNX Runtime, FastAPI", onnx, False),
        Service("keras-predict", "Keras `model.predict`, FastAPI", [*keras, "predict"], False),
        Service("keras-function", "Keras `tf.function`, FastAPI", [*keras, "function"], False),
        Service("keras-xla", "Keras `tf.function` with XLA, FastAPI", [*keras, "xla"], False),
    ]
    services = [service for service in every if service.name in arguments.only]
    busy = os.getloadavg()[0]
    if busy > 0.3:
        print(f"the machine is busy (load {busy:.1f}): figures will be worse and less even", file=sys.stderr)

    rounds, reference = [], None
    for number in range(arguments.rounds):
        rounds.append({})
        for service in services:
            print(f"round {number + 1} of {arguments.rounds}: {service.title}", file=sys.stderr)
            rounds[-1][service.name], reference = measure(service, bench, arguments, reference)
    print(f"server on one core, load on another; best of {arguments.rounds} rounds of {arguments.seconds:g} s\n")
    print(markdown(services, rounds))
    if arguments.json:
        arguments.json.write_text(json.dumps({"load_before": busy, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
