#!/usr/bin/env python3
"""Attempts to shut others out of a running server, or to fill its memory, while a normal client asks.

    attacks.py HOST PORT PID [SECONDS [ATTEMPT…]]

Each attempt lasts a few seconds, on loopback. Meanwhile a normal client asks for a review and for health, each time on a
connection of its own, and the server's resident memory is read. The attempt fails where a review took longer than a second,
health longer than 100 ms (in the median; a busy machine is not the server's fault: where a review takes longer than 10 ms
while nobody attacks, the limits are as many times longer), or the memory passed 256 MB.
Standard library alone.
"""

import json
import socket
import statistics
import struct
import sys
import threading
import time

HOST, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SECONDS = float(sys.argv[4]) if len(sys.argv) > 4 else 5.0
CHOSEN = sys.argv[5:]
MEMORY_LIMIT = 256_000_000
REVIEW_LIMIT, HEALTH_LIMIT = 1.0, 0.1
# Seconds that a review takes on an idle machine at most, connection included.
IDLE_REVIEW = 0.01
# Least questions that tell anything.
ASKED = 20
REVIEW = json.dumps({"text": "A gripping, beautifully shot film with a plot that holds. " * 20}).encode()
LONG = "The film has a plot, and it is not a bad one, but the acting spoils it. "

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hello(window=None):
    settings = b"" if window is None else struct.pack(">HI", 4, window)
    return HELLO + frame(4, 0, 0, settings)


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(stream, method, path, end, more=()):
    block = literal(b":method", method) + literal(b":path", path) + literal(b":scheme", b"http")
    block += literal(b":authority", b"t") + b"".join(literal(*pair) for pair in more)
    return frame(1, 4 | (1 if end else 0), stream, block)


def connect(timeout=5.0):
    connection = socket.create_connection((HOST, PORT), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def post(body, path="/predict"):
    head = f"POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(request):
    """Seconds to an answer's first line, and its status; a failure counts as endless."""
    begun = time.monotonic()
    try:
        with connect() as connection:
            connection.sendall(request)
            status = int(connection.recv(65536).split(b" ")[1])
        return time.monotonic() - begun, status
    except (OSError, IndexError, ValueError):
        return float("inf"), 0


def memory():
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def write(connection, data):
    """Writes what the other side takes; it may have closed, which is its right."""
    try:
        connection.sendall(data)
        return True
    except OSError:
        return False


def hold(make, count):
    """Opens `count` connections with `make` and keeps them."""
    held = []
    for _ in range(count):
        try:
            held.append(make())
        except OSError:
            break
    return held


# Each attempt is started with an event that tells when it is over.


def nobody(over):
    over.wait()


def silent_connections(over):
    held = []
    while not over.is_set():
        held = hold(connect, 1100)
        over.wait(0.5)
    del held


def pinging_connections(over):
    def make():
        connection = connect()
        write(connection, hello())
        return connection

    held = hold(make, 1024)
    while not over.is_set():
        for connection in held:
            write(connection, frame(6, 0, 0, b"whoareyo"))
        over.wait(0.2)


def slow_bodies(over):
    def make():
        connection = connect()
        write(connection, post(b"x" * 2_000_000)[:100_000])
        return connection

    while not over.is_set():
        held = hold(make, 300)
        over.wait(1)
        del held


def untaken_metrics(over):
    """A window of 0 and 64 streams on each of 90 connections."""

    def make():
        connection = connect()
        asked = b"".join(headers(1 + 2 * at, b"GET", b"/metrics", True) for at in range(64))
        write(connection, hello(0) + asked)
        return connection

    held = hold(make, 90)
    over.wait()
    del held


def untaken_info(over):
    def make():
        connection = connect()
        asked = b"".join(headers(1 + 2 * at, b"GET", b"/info", True) for at in range(64))
        write(connection, hello(0) + asked)
        return connection

    held = hold(make, 300)
    over.wait()
    del held


def streams_without_a_body(over):
    """64,000 open streams."""
    json_type = ((b"content-type", b"application/json"),)

    def make():
        connection = connect()
        asked = b"".join(headers(1 + 2 * at, b"POST", b"/predict", False, json_type) for at in range(64))
        write(connection, hello() + asked)
        return connection

    held = hold(make, 1000)
    over.wait()
    del held


def untaken_errors(over):
    """Requests whose errors repeated them, of which nothing is read."""
    body = json.dumps({"texts": "\x01" * 300_000}).encode()

    def make():
        connection = connect()
        write(connection, post(body))
        return connection

    while not over.is_set():
        held = hold(make, 31)
        over.wait(0.5)
        del held


def windows(over):
    """400 requests of 192 kB, read in windows."""
    body = post(json.dumps({"text": (LONG * 3000)[:192_000], "truncate": "windows"}).encode())

    def make():
        connection = connect()
        write(connection, body)
        return connection

    while not over.is_set():
        held = hold(make, 400)
        over.wait(2)
        del held


def bulk(over):
    """Requests of 128 long texts each, on 24 connections, again and again."""
    again_and_again(over, [post(json.dumps({"texts": [LONG * 40] * 128}).encode())], 24)


def again_and_again(over, bodies, threads):
    """Asks with each of `bodies` in turn, on so many connections."""

    def again(at):
        while not over.is_set():
            ask(bodies[at % len(bodies)])
            at += 1

    running = [threading.Thread(target=again, args=(at,)) for at in range(threads)]
    [thread.start() for thread in running]
    [thread.join() for thread in running]


def many_values(over):
    """Bodies of two bytes a value, each of which takes more once it is read."""

    def full(start, value, end):
        return (start + ",".join([value] * ((2_000_000 - len(start) - len(end)) // (len(value) + 1))) + end).encode()

    name = '{"name":""}'
    bodies = [
        post(full('{"texts": [', "1", "]}")),
        post(full('{"texts": [', '""', "]}")),
        post(full('{"inputs": [', '[""]', "]}")),
        post(full('{"txt": 1, "inputs": 2, ', '"a":1', "}")),
        post(full('{"inputs": [], "outputs": [', name, "]}"), "/v2/models/imdb/infer"),
        post(full('{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [', "1", "]}]}"), "/v2/models/imdb/infer"),
    ]
    again_and_again(over, bodies, 24)


def strings_out_of_place(over):
    """Strings of which an error could be six times as long, where none belongs."""
    strange = "\x7f" * 1_900_000
    fields = ["texts", "abstain", "truncate", "explain", "ids", "id"]
    bodies = [post(f'{{"text": "film", "{field}": "{strange}"}}'.encode()) for field in fields]
    bodies.append(post(f'{{"text": "film", "{strange}": 1}}'.encode()))
    bodies.append(post(f'{{"inputs": [{{"name": "text", "shape": "{strange}"}}]}}'.encode(), "/v2/models/imdb/infer"))
    again_and_again(over, bodies, 24)


def pipelined_metrics(over):
    request = b"GET /metrics HTTP/1.1\r\nhost: t\r\n\r\n" * 1000

    def again():
        while not over.is_set():
            try:
                with connect() as connection:
                    connection.settimeout(0.2)
                    for _ in range(200):
                        if over.is_set():
                            break
                        try:
                            connection.sendall(request)
                        except TimeoutError:
                            pass
                        try:
                            connection.recv(1 << 20)
                        except TimeoutError:
                            pass
            except OSError:
                pass

    threads = [threading.Thread(target=again) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def trickling_readers(over):
    """Large answers, read a byte at a time."""
    body = post(json.dumps({"texts": ["good film"] * 1000}).encode())

    def make():
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect((HOST, PORT))
        write(connection, body)
        return connection

    held = hold(make, 300)
    while not over.is_set():
        for connection in held:
            try:
                connection.recv(1)
            except OSError:
                pass
            if over.is_set():
                break


ATTEMPTS = [
    silent_connections,
    pinging_connections,
    slow_bodies,
    untaken_metrics,
    untaken_info,
    streams_without_a_body,
    untaken_errors,
    windows,
    many_values,
    strings_out_of_place,
    bulk,
    pipelined_metrics,
    trickling_readers,
]


def measure(attempt):
    over = threading.Event()
    thread = threading.Thread(target=attempt, args=(over,), daemon=True)
    reviews, healths, most = [], [], 0
    end = time.monotonic() + SECONDS
    thread.start()
    time.sleep(0.3)
    while time.monotonic() < end or (len(reviews) < ASKED and time.monotonic() < end + 3 * SECONDS):
        reviews.append(ask(post(REVIEW)))
        healths.append(ask(b"GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n"))
        most = max(most, memory())
        time.sleep(0.02)
    over.set()
    thread.join(30)
    return reviews, healths, max(most, memory())


def main():
    faults, slower = [], 1.0
    print(f"{'attempt':24} {'asked':>6} {'refused':>7} {'review ms: median, worst':>26} {'health ms':>16} {'RSS MB':>7}")
    for attempt in [nobody] + [attempt for attempt in ATTEMPTS if not CHOSEN or attempt.__name__ in CHOSEN]:
        name = attempt.__name__
        reviews, healths, most = measure(attempt)
        refused = sum(status != 200 for _, status in reviews + healths)
        review, health = [time for time, _ in reviews], [time for time, _ in healths]
        figures = [statistics.median(review), max(review), statistics.median(health), max(health)]
        print(
            f"{name:24} {len(reviews):6} {refused:7} {figures[0] * 1e3:13.1f} {figures[1] * 1e3:12.1f}"
            f" {figures[2] * 1e3:8.1f} {figures[3] * 1e3:7.1f} {most / 1e6:7.0f}",
            flush=True,
        )
        # One in fifty may be unlucky with its moment, or with the machine.
        if refused > len(reviews + healths) / 50:
            faults.append(f"{name}: {refused} of {len(reviews + healths)} not answered")
        if attempt is nobody:
            slower = max(1.0, figures[0] / IDLE_REVIEW)
        if figures[0] > REVIEW_LIMIT * slower:
            faults.append(f"{name}: a review took {figures[0]:.2f} s")
        if figures[2] > HEALTH_LIMIT * slower:
            faults.append(f"{name}: health took {figures[2] * 1e3:.0f} ms")
        if most > MEMORY_LIMIT:
            faults.append(f"{name}: {most / 1e6:.0f} MB of memory")
        time.sleep(0.5)
    for fault in faults:
        print("FAULT", fault, file=sys.stderr)
    sys.exit(bool(faults))


main()
