"""Load on one address from a fixed number of keep-alive clients, each request and its outcome a line of the log.

load.py URL SECONDS CLIENTS LOG [KEY]: writes "start duration outcome model" (seconds) a line; outcome is a status or the
exception's name. Ends early when LOG.stop exists. Predictions of one short review each.
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

url, seconds, clients, log = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
headers = {"content-type": "application/json"}
if len(sys.argv) > 5:
    headers["authorization"] = "Bearer " + sys.argv[5]
place = urllib.parse.urlsplit(url)
text = "A gripping, beautifully shot film, if a little long; the actors are a joy to watch. " * 6
body = json.dumps({"text": text})
end = time.time() + seconds
lines = [[] for _ in range(clients)]


def client(own):
    connection = None
    while time.time() < end and not os.path.exists(log + ".stop"):
        start = time.time()
        model = "-"
        try:
            if connection is None:
                connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            outcome = str(answer.status)
            if answer.status == 200:
                model = json.loads(content)["model"]
            if answer.getheader("connection", "").lower() == "close":
                connection.close()
                connection = None
        except Exception as error:
            outcome = type(error).__name__
            if connection is not None:
                connection.close()
            connection = None
        own.append((start, time.time() - start, outcome, model))


threads = [threading.Thread(target=client, args=(own,)) for own in lines]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with open(log, "w") as file:
    for start, duration, outcome, model in sorted(line for own in lines for line in own):
        file.write(f"{start:.3f} {duration:.4f} {outcome} {model}\n")
