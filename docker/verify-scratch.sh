#!/usr/bin/env bash
# Proves the final stage of the Dockerfile where no Docker engine is at hand: builds the same static binary with the
# same flags, puts it with the models into an empty folder, and runs it there (chroot, unprivileged user, nothing
# else in sight): start, health check, one prediction, clean stop. Needs root for chroot.
set -euo pipefail
cd "$(dirname "$0")/.."

target="$(rustc -vV | sed -n 's/^host: //p')"
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile dist --bin server --target "$target"
binary="${CARGO_TARGET_DIR:-target}/$target/dist/server"
# A static binary may still be position-independent; what matters is that nothing is to be loaded.
if ldd "$binary" 2>/dev/null | grep -q '=>'; then
    echo "$binary wants shared libraries" >&2
    exit 1
fi

root="$(mktemp -d)"
trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$root"' EXIT
cp "$binary" "$root/server"
cp -r models "$root/models"
chmod -R a+rX "$root"
echo "image contents: $(du -sh --apparent-size "$root" | cut -f1), binary $(du -h --apparent-size "$root/server" | cut -f1)"

inside() { chroot --userspec=65532:65532 "$root" /usr/bin/env true 2>/dev/null; }
inside && { echo "the root is not empty" >&2; exit 1; }

export IMDB_SENTIMENT_HOST=127.0.0.1 IMDB_SENTIMENT_PORT=3999
chroot --userspec=65532:65532 "$root" /server &
server=$!
for _ in $(seq 50); do
    chroot --userspec=65532:65532 "$root" /server healthcheck && break
    sleep 0.1
done
chroot --userspec=65532:65532 "$root" /server healthcheck
curl -sS --fail "http://127.0.0.1:3999/predict" -H 'content-type: application/json' \
    -d '{"text": "A gripping, beautifully shot film."}'
echo
kill -TERM "$server"
wait "$server"
echo "stopped cleanly"
