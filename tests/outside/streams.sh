#!/usr/bin/env bash
# Streams as other people's clients speak them: README's own command by curl; curl, aiohttp and Node's fetch, whose server is told
# to stop in the middle.
source "$(dirname "$0")/common.bash"
need curl
need python3
PYTHON="$(venv tests/outside/streams/requirements.txt)" || skip "aiohttp could not be installed from PyPI"
fail() { echo "FAILED: $*" >&2; exit 1; }
cd "$WORK"

# The command of README, word for word but for the address.
command="$(sed -n 's/^\$ \(curl .*application\/x-ndjson.*\)/\1/p' "$ROOT/README.md")"
[ "$(echo "$command" | wc -l)" = 1 ] || fail "README has not one command for a stream"
"$PYTHON/bin/python" - <<'PY'
import json, random
random.seed(7)
words = "a gripping , beautifully shot film that i would not watch twice ; dull acting and a plot".split()
with open("reviews.jsonl", "w") as file:
    for number in range(1, 20_001):
        text = "..." if number == 2 else "A gripping, beautifully shot film. " + " ".join(random.choices(words, k=random.randint(1, 200)))
        file.write(json.dumps({"id": number, "text": text}) + "\n")
PY
serve --model "$ROOT/models/keras-imdb"
bash -euo pipefail -c "${command//localhost:3000/${URL#http://}}" || fail "README's command"
# What README shows of its answers.
sed -n '/application\/x-ndjson/,/^```$/p' "$ROOT/README.md" | sed -e 1d -e '/^```$/d' >shown
"$PYTHON/bin/python" - <<'PY'
import json
answers = [json.loads(line) for line in open("answers.jsonl")]
assert [answer["id"] for answer in answers] == list(range(1, 20_001)), len(answers)
shown = [line.rstrip("\n") for line in open("shown") if line.strip()]
assert len(shown) == 2, shown
for line, answer in zip(shown, open("answers.jsonl")):
    begin, _, end = line.partition("…")
    assert answer.startswith(begin), (line, answer)
assert [answer["id"] for answer in answers if "label" not in answer] == [2]
PY

# The server is told to stop while a client sends without end: the client sees its answers, and a last line that says how far
# they go. EXIT is how the client may end: curl goes on sending until the connection is closed, and ends with 55 or 56 then.
ending() { # FILE OF ANSWERS
    "$PYTHON/bin/python" - "$1" <<'PY'
import json, sys
*answers, last = [json.loads(line) for line in open(sys.argv[1])]
assert last["status"] == 503 and "line" not in last and f"behind line {len(answers)};" in last["detail"], (len(answers), last)
assert all("label" in answer for answer in answers) and answers, last
PY
}
stopped() { # NAME EXIT COMMAND…
    local name="$1" exits="$2" client code=0
    shift 2
    serve --model "$ROOT/models/keras-imdb" --shutdown-grace 12s
    "$@" >"$name.jsonl" 2>"$name.err" &
    client=$!
    for _ in $(seq 300); do [ -s "$name.jsonl" ] && break; sleep 0.1; done
    kill -TERM "$SERVER_PID"
    wait "$client" || code=$?
    [[ " $exits " == *" $code "* ]] || { cat "$name.err" >&2; fail "$name ends with $code"; }
    wait "$SERVER_PID" || fail "the server's exit under $name"
    ending "$name.jsonl" || fail "$name does not see the end"
}
endless() { while cat reviews_good.jsonl; do :; done 2>/dev/null; }
grep -v '"id": 2,' reviews.jsonl >reviews_good.jsonl
with_curl() { curl -sSN -X POST -H 'content-type: application/x-ndjson' -H 'expect:' -T - "$URL/predict" < <(endless); }
stopped curl "0 55 56" with_curl
with_aiohttp() { "$PYTHON/bin/python" "$ROOT/tests/outside/streams/send.py" "$URL" reviews_good.jsonl; }
stopped aiohttp 0 with_aiohttp
if command -v node >/dev/null; then
    with_node() { node "$ROOT/tests/outside/streams/send.mjs" "$URL" reviews_good.jsonl; }
    stopped node 0 with_node
else
    note "streams by Node's fetch not tried: no node here"
fi
echo "curl, aiohttp and fetch stream, and see where a stream ends"
