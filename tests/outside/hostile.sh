#!/usr/bin/env bash
# A normal client beside attempts to shut it out: default settings, the default model, about a minute and a half.
source "$(dirname "$0")/common.bash"
need python3
# One client of a thousand connections needs as many files.
ulimit -n "$(ulimit -Hn)"
serve
python3 tests/hostile/attacks.py 127.0.0.1 "${URL##*:}" "$SERVER_PID" "${HOSTILE_SECONDS:-5}" | tee "$WORK/figures"
note "most memory under attack: $(awk 'NR > 1 { if ($NF > most) most = $NF } END { print most }' "$WORK/figures") MB"
