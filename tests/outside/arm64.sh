#!/usr/bin/env bash
# The image for arm64, cross-compiled as the Dockerfile does it. No such machine is here: its binary is run by QEMU, and its
# answers compared with this machine's.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need curl
need python3
need qemu-aarch64-static qemu-user-static
[ -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu/lib" ] || rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1 ||
    skip "no standard library of Rust for arm64 here"
engine
arm64_image

fail() { echo "FAILED: $*" >&2; exit 1; }
[ "$(docker image inspect -f '{{.Architecture}}' imdb-sentiment-arm64)" = arm64 ] || fail "the image is for $(docker image inspect -f '{{.Architecture}}' imdb-sentiment-arm64)"
docker create --platform linux/arm64 --name content imdb-sentiment-arm64 >/dev/null
mkdir "$WORK/image"
docker export content | tar -C "$WORK/image" -x --exclude='dev/*'
docker rm content >/dev/null
# e_machine 183 is AArch64; a static program asks for no loader.
python3 - "$WORK/image/server" <<'PY' || fail "no static program for arm64"
import struct, sys
file = open(sys.argv[1], "rb").read(1 << 16)
assert file[:4] == b"\x7fELF" and struct.unpack_from("<H", file, 18)[0] == 183
offset, size, count = struct.unpack_from("<Q", file, 32)[0], *struct.unpack_from("<HH", file, 54)
assert 3 not in [struct.unpack_from("<I", file, offset + size * index)[0] for index in range(count)], "a loader"
PY
python3 - "$WORK/body" <<'PY'
import json, random, sys
random.seed(7)
words = "a gripping , beautifully shot film that i would not watch twice ; dull acting and <br /> a plot I've seen 10/10 :-)".split()
json.dump({"texts": [" ".join(random.choices(words, k=random.randint(1, 200))) for _ in range(20)]}, open(sys.argv[1], "w"))
PY
ask() { curl -sS --fail-with-body -m 200 -H 'content-type: application/json' -d "@$WORK/body" "$1/predict"; }
models=(--model "$ROOT/models/imdb" --request-timeout 3m)
serve "${models[@]}"
ask "$URL" >"$WORK/here"
native="$SERVER"
# Other instructions may round otherwise in the last places.
largest=0
for kernel in neondotprod neon; do
    printf '#!/bin/sh\nIMDB_SENTIMENT_KERNEL=%s exec qemu-aarch64-static %s "$@"\n' "$kernel" "$WORK/image/server" \
        >"$WORK/$kernel"
    chmod +x "$WORK/$kernel"
    SERVER="$WORK/$kernel" serve "${models[@]}"
    ask "$URL" >"$WORK/there"
    difference=$(python3 - "$WORK" <<'PY'
import json, sys
here, there = (json.load(open(f"{sys.argv[1]}/{name}"))["predictions"] for name in ("here", "there"))
assert [p["tokens"] for p in here] == [p["tokens"] for p in there] and len(here) == 20
print(max(abs(one["probabilities"]["positive"] - other["probabilities"]["positive"]) for one, other in zip(here, there)))
PY
    ) || fail "other tokens with $kernel"
    python3 -c "import sys; sys.exit(not $difference < 1e-3)" || fail "probabilities differ by $difference with $kernel"
    largest=$(python3 -c "print(max($largest, $difference))")
done
SERVER="$native"
note "arm64 image, cross-built by BuildKit: $(($(docker image inspect -f '{{.Size}}' imdb-sentiment-arm64) / 1000)) kB; its binary, run by QEMU, answers as this machine's within $largest with neondotprod and with neon"
echo "the arm64 image answers"
