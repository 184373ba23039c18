#!/usr/bin/env bash
# Trains models/imdb from the raw reviews: word vectors, two teachers, a student that also learns from the teachers'
# opinion of the unlabelled reviews. A stage that is there already is skipped, a stopped one resumed.
#
#     tools/train_imdb.sh aclImdb_v1.tar.gz [OUTPUT]            # the shipped model; some 15 minutes on two idle cores
#     HOLD_OUT=1 tools/train_imdb.sh aclImdb_v1.tar.gz OUTPUT   # the same with a fifth of the films set aside, to
#                                                               # measure: trainer evaluate --on final
set -euo pipefail
data="$1"
output="${2:-models/imdb}"
cd "$(dirname "$0")/.."
cargo build --release --bin trainer
trainer="${CARGO_TARGET_DIR:-target}/release/trainer"
if [ -n "${HOLD_OUT:-}" ]; then
    work=target/imdb-held-out
    shares=()
else
    work=target/imdb
    shares=(--final-share 0 --validation-share 0.05)
fi

stage() {
    local model="$1"
    shift
    [ -f "$model/model.safetensors" ] && [ ! -e "$model.checkpoint" ] && return
    local resume=()
    [ -e "$model.checkpoint" ] && resume=(--resume)
    "$trainer" train --preset imdb --data "$data" --output "$model" --vectors "$work/v" "${shares[@]}" "$@" "${resume[@]}"
}

mkdir -p "$work"
[ -f "$work/v/vectors.safetensors" ] || "$trainer" vectors --data "$data" --output "$work/v"
stage "$work/F1" --epochs 6
stage "$work/F2" --epochs 6 --seed 2
stage "$output" --epochs 3 --teacher "$work/F1" --teacher "$work/F2"
