#!/usr/bin/env bash
# The trainer's image, built by BuildKit: what is in it, and a model of one's own from a table in a mounted folder, which the
# server's binary then serves. The compose file's `train` profile runs it in the same way.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need curl
need python3
engine
trainer_image

fail() { echo "FAILED: $*" >&2; exit 1; }
config() { docker image inspect -f "{{$1}}" imdb-sentiment-trainer; }
[ "$(config .Config.User)" = 65532:65532 ] || fail "the user"
if docker run --rm --entrypoint /bin/sh imdb-sentiment-trainer -c true 2>/dev/null; then fail "there is a shell"; fi
docker create --name content imdb-sentiment-trainer >/dev/null
docker export content | tar -t | grep -v -e '/$' -e '^\(dev\|etc\|proc\|sys\)/' -e '^\.dockerenv$' | sort >"$WORK/files"
printf '%s\n' licenses/LICENSE licenses/THIRD-PARTY.txt trainer | diff - "$WORK/files" || fail "other files than expected"
docker rm content >/dev/null

# A table in, a model out, as whoever owns the folder; the root cannot be written.
mkdir "$WORK/work"
python3 - "$WORK/work/own.csv" <<'PY'
import csv, random, sys
random.seed(7)
good, bad = "great lovely sturdy bright quick".split(), "poor broken dull slow cheap".split()
rows = csv.writer(open(sys.argv[1], "w"))
rows.writerow(["text", "label"])
for n in range(400):
    words = random.choices(good if n % 2 else bad, k=6) + random.choices("the a battery screen cable and".split(), k=8)
    random.shuffle(words)
    rows.writerow([" ".join(words), "positive" if n % 2 else "negative"])
PY
cp -r models/keras-imdb "$WORK/work/start"
chown -R 65532:65532 "$WORK/work"
chmod 755 "$WORK"
run() { docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges -v "$WORK/work:/work" imdb-sentiment-trainer "$@"; }
run train --data own.csv --init start --output own --epochs 2 >"$WORK/train" 2>&1 || { tail -5 "$WORK/train" >&2; fail "train"; }
[ "$(stat -c %u "$WORK/work/own/model.safetensors")" = 65532 ] || fail "the model is another's"
run evaluate --model own --data own.csv >"$WORK/evaluate" 2>&1 || { tail -5 "$WORK/evaluate" >&2; fail "evaluate"; }
serve --model "$WORK/work/own"
curl -sf -H 'content-type: application/json' -d '{"text": "great battery, lovely screen, sturdy cable"}' "$URL/predict" | grep -q '"label":"positive"' ||
    fail "the server does not serve what it made"
note "trainer image by BuildKit: $(($(config .Size) / 1000)) kB; a table of 400 rows became a model that the server serves"
echo "the trainer's image trains"
