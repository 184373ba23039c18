#!/usr/bin/env bash
# Trains models/imdb from the raw reviews: word vectors; language models on labelled and unlabelled reviews; teachers
# that start from them; a student that learns from the teachers' opinion of the unlabelled reviews, from short stretches
# and from made-up sentences too. A stage that is there already is skipped, a stopped one resumed.
#
#     tools/train_imdb.sh aclImdb_v1.tar.gz [OUTPUT]            # the shipped model, into target/imdb/imdb unless
#                                                               # OUTPUT says otherwise; two hours on two idle cores
#     HOLD_OUT=1 tools/train_imdb.sh aclImdb_v1.tar.gz OUTPUT   # the same with a fifth of the films set aside, to
#                                                               # measure: trainer evaluate --on final
#
# Vectors and language models never see a film that is held out to choose or to measure, so both ways share them.
set -euo pipefail
data="$1"
cd "$(dirname "$0")/.."
cargo build --release --bin trainer
trainer="${CARGO_TARGET_DIR:-target}/release/trainer"
work=target/imdb
output="${2:-$work/imdb}"
shares=(--final-share 0 --validation-share 0.05)
teachers="$work"
if [ -n "${HOLD_OUT:-}" ]; then
    shares=()
    teachers="$work/held-out"
fi
mkdir -p "$teachers"

resume() {
    if [ -e "$1.checkpoint" ]; then echo --resume; fi
}

# language DIM OUTPUT RATE: vectors of that length, and from them a language model of as many units.
language() {
    if [ ! -f "$work/v$1/vectors.safetensors" ]; then
        "$trainer" vectors --data "$data" --output "$work/v$1" --dim "$1"
    fi
    if [ ! -f "$2/vectors.safetensors" ]; then
        # shellcheck disable=SC2046
        "$trainer" language --data "$data" --vectors "$work/v$1" --output "$2" --epochs 4 --learning-rate "$3" \
            $(resume "$2")
    fi
}

# stage OUTPUT FLAGS: one training on one core. Two of them beside each other do more than one after the other on two.
stage() {
    local model="$1"
    shift
    if [ -f "$model/model.safetensors" ] && [ ! -e "$model.checkpoint" ]; then
        echo "$model is there already"
        return
    fi
    # shellcheck disable=SC2046
    RAYON_NUM_THREADS=1 "$trainer" train --preset imdb --data "$data" --output "$model" --threads 1 "${shares[@]}" "$@" \
        $(resume "$model")
}

language 128 "$work/lm" 0.003
language 256 "$work/lm256" 0.002
stage "$teachers/F1" --vectors "$work/lm" >"$teachers/F1.log" 2>&1 &
small=$!
failed=0
stage "$teachers/F3" --vectors "$work/lm256" --embedding-dim 256 --hidden-size 256 || failed=$?
wait "$small"
[ "$failed" = 0 ]
stage "$output" --vectors "$work/lm" --short-crops 1 --sentences 2 --teacher "$teachers/F1" --teacher "$teachers/F3"
