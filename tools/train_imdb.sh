#!/usr/bin/env bash
# Trains models/imdb from the raw reviews: word vectors; a language model on labelled and unlabelled reviews; two teachers
# that start from it; a student that also learns from the teachers' opinion of the unlabelled reviews. A stage that is
# there already is skipped, a stopped one resumed.
#
#     tools/train_imdb.sh aclImdb_v1.tar.gz [OUTPUT]            # the shipped model; about an hour on two idle cores
#     HOLD_OUT=1 tools/train_imdb.sh aclImdb_v1.tar.gz OUTPUT   # the same with a fifth of the films set aside, to
#                                                               # measure: trainer evaluate --on final
#
# Vectors and language model never see a film that is held out to choose or to measure, so both ways share them.
set -euo pipefail
data="$1"
output="${2:-models/imdb}"
cd "$(dirname "$0")/.."
cargo build --release --bin trainer
trainer="${CARGO_TARGET_DIR:-target}/release/trainer"
work=target/imdb
shares=(--final-share 0 --validation-share 0.05)
teachers="$work"
if [ -n "${HOLD_OUT:-}" ]; then
    shares=()
    teachers="$work/held-out"
fi
mkdir -p "$teachers"
# Two stages of one thread each beside each other do more than one after the other with two.
export RAYON_NUM_THREADS=1

resume() {
    if [ -e "$1.checkpoint" ]; then echo --resume; fi
}

stage() {
    local model="$1"
    shift
    if [ -f "$model/model.safetensors" ] && [ ! -e "$model.checkpoint" ]; then return; fi
    # shellcheck disable=SC2046
    "$trainer" train --preset imdb --data "$data" --output "$model" --vectors "$work/lm" --threads 1 \
        "${shares[@]}" "$@" $(resume "$model")
}

if [ ! -f "$work/v/vectors.safetensors" ]; then
    "$trainer" vectors --data "$data" --output "$work/v"
fi
if [ ! -f "$work/lm/vectors.safetensors" ]; then
    # shellcheck disable=SC2046
    env -u RAYON_NUM_THREADS "$trainer" language --data "$data" --vectors "$work/v" --output "$work/lm" --epochs 4 \
        --learning-rate 0.003 $(resume "$work/lm")
fi
stage "$teachers/F1" >"$teachers/F1.log" 2>&1 &
stage "$teachers/F2" --seed 2
wait $!
stage "$output" --short-crops 0.25 --teacher "$teachers/F1" --teacher "$teachers/F2"
