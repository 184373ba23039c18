# Sourced by the scripts of this folder; README.md says what it gives.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$ROOT"
NAME="$(basename "$0" .sh)"
TARGET="${CARGO_TARGET_DIR:-$ROOT/target}"
SERVER="${SERVER:-$TARGET/release/server}"
TRAINER="${TRAINER:-$TARGET/release/trainer}"
CACHE="$TARGET/outside"
WORK="$(mktemp -d)"
# Seconds that the script may take; .ci/run says.
LIMIT="${LIMIT:-900}"
mkdir -p "$CACHE"
export ROOT SERVER TRAINER CACHE WORK
started=()

finish() {
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A line for the summary of .ci/run, where there is one.
note() {
    echo "$NAME: $*"
    [ -z "${CI_NOTES:-}" ] || echo "$NAME: $*" >>"$CI_NOTES"
}

skip() {
    note "not tried: $*"
    exit 77
}

need() {
    local command="$1" package="${2:-$1}"
    command -v "$command" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # Lists of packages may be old; they are fetched once a day at most. One script at a time: images are built beside others.
        (
            flock 9
            find "$CACHE/apt-lists" -mtime -1 2>/dev/null | grep -q . || { apt-get -qq update >/dev/null 2>&1 && touch "$CACHE/apt-lists"; } || true
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$package" >/dev/null 2>&1 || true
        ) 9>"$CACHE/apt-lock"
    fi
    command -v "$command" >/dev/null || skip "no $command here, and Debian's package $package could not be installed"
}

# Prints where the Python environment of a file of pinned requirements lies; made anew when the file changes.
venv() {
    local file="$1" folder
    folder="$CACHE/venv-$(sha256sum "$file" | cut -c1-16)"
    if [ ! -e "$folder/complete" ]; then
        rm -rf "$folder"
        python3 -m venv "$folder" >&2 || return 1
        "$folder/bin/pip" -q --disable-pip-version-check install -r "$file" >&2 || return 1
        touch "$folder/complete"
    fi
    echo "$folder"
}

# Starts the server; sets URL and SERVER_PID. Settings of the environment do not reach it.
serve() {
    [ -x "$SERVER" ] || skip "no $SERVER: cargo build --release --bin server"
    local log="$WORK/server-${#started[@]}" cleared
    cleared=$(env | sed -n 's/^\(IMDB_SENTIMENT_[A-Z_]*\|OTEL_[A-Z_]*\)=.*/-u \1/p')
    : >"$log.out"
    # shellcheck disable=SC2086
    env $cleared "$SERVER" --port 0 "$@" >"$log.out" 2>"$log.err" &
    SERVER_PID=$!
    started+=("$SERVER_PID")
    for _ in $(seq 600); do
        URL=$(sed -n 's/^listening on \(https\{0,1\}:[^ ]*\).*/\1/p' "$log.out")
        [ -n "$URL" ] && return
        kill -0 "$SERVER_PID" 2>/dev/null || { cat "$log.err" >&2; return 1; }
        sleep 0.1
    done
    echo "the server does not listen after 60 s" >&2
    return 1
}
