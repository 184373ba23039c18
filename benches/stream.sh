#!/usr/bin/env bash
# What a stream over HTTP costs: `benches/stream.sh [MODEL [REVIEWS [ROUNDS [LENGTH]]]]`, by default models/imdb, 40,000 made-up
# reviews, three rounds; LENGTH `short` makes lines of 6 to 16 words in place of whole reviews.
#
# `trainer predict` and the server, asked by curl with README's command, score the same JSON lines in turn, each with all cores
# (curl takes some of them as well); both write to a file, and the answers are compared. The rate of the stream divided by
# that of `trainer predict` is the figure. Binaries: target/release, or $SERVER and $TRAINER.
set -euo pipefail
cd "$(dirname "$0")/.."
model="${1:-models/imdb}" reviews="${2:-40000}" rounds="${3:-3}" length="${4:-review}"
target="${CARGO_TARGET_DIR:-target}/release"
server="${SERVER:-$target/server}" trainer="${TRAINER:-$target/trainer}"
work="$(mktemp -d)"
"$server" --model "$model" --port 0 >"$work/out" 2>/dev/null &
server_pid=$!
trap 'kill "$server_pid" 2>/dev/null; rm -rf "$work"' EXIT

# Words of the vocabulary, the frequent ones more often; lengths as reviews have them (log-normal, 230 words in the mean).
python3 - "$model/vocab.txt" "$reviews" "$length" >"$work/reviews.jsonl" <<'PY'
import json, random, sys
random.seed(7)
words = [word for word in open(sys.argv[1]).read().split() if word.isascii() and word.isalpha()]
short = sys.argv[3] == "short"
for number in range(int(sys.argv[2])):
    count = random.randint(6, 16) if short else min(int(random.lognormvariate(5.2, 0.68)) + 5, 1500)
    text = " ".join(words[int(len(words) ** random.random()) - 1] for _ in range(count))
    print(json.dumps({"id": number, "text": text}))
PY
url=""
while [ -z "$url" ]; do
    kill -0 "$server_pid"
    url="$(sed -n 's/^listening on //p' "$work/out")"
    sleep 0.1
done

timed() { # prints the seconds that a command takes
    local start end
    start="$(date +%s.%N)"
    "$@" >/dev/null 2>&1
    end="$(date +%s.%N)"
    awk -v start="$start" -v end="$end" 'BEGIN { printf "%.3f", end - start }'
}
predict() { "$trainer" predict --model "$model" --input "$work/reviews.jsonl" --output "$work/predicted.jsonl"; }
stream() {
    curl -sSN "$url/predict" -H 'content-type: application/x-ndjson' -H 'expect:' -T "$work/reviews.jsonl" -X POST -o "$work/streamed.jsonl"
}
for round in $(seq "$rounds"); do
    rm -f "$work/predicted.jsonl" "$work/streamed.jsonl"
    offline="$(timed predict)" online="$(timed stream)"
    python3 - "$work" "$reviews" "$offline" "$online" "$round" <<'PY'
import json, sys
work, reviews, offline, online = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
read = lambda name: map(json.loads, open(f"{work}/{name}.jsonl"))
count = 0
for streamed, predicted in zip(read("streamed"), read("predicted"), strict=True):
    assert streamed["id"] == count, (count, streamed)
    assert abs(streamed["probabilities"]["positive"] - predicted["probabilities"]["positive"]) < 1e-6, (streamed, predicted)
    count += 1
assert count == reviews
print(f"round {sys.argv[5]}: trainer predict {reviews / offline:.0f} /s, stream {reviews / online:.0f} /s, {offline / online:.2f} of it")
PY
done
grep VmHWM "/proc/$server_pid/status" | awk '{ printf "server: at most %d MB\n", $2 / 1000 }'
