#!/usr/bin/env bash
# Trains models/imdb from the raw reviews: word vectors; language models on labelled and unlabelled reviews; two teachers
# that start from the small one, and their student (S1), which learns from their opinion of the unlabelled reviews; a
# teacher that starts from the large one (F3); and the student of S1 and F3, which learns from short stretches and
# made-up sentences too. A stage that is there already is skipped, a stopped one resumed.
#
#     tools/train_imdb.sh aclImdb_v1.tar.gz [OUTPUT]            # the shipped model, into target/imdb/imdb unless
#                                                               # OUTPUT says otherwise; two and a half hours on two cores
#     HOLD_OUT=1 tools/train_imdb.sh aclImdb_v1.tar.gz OUTPUT   # the same with a fifth of the films set aside, to
#                                                               # measure: trainer evaluate --on final
#
# The preset's tokenizer is `typed`. Vectors, language models and whatever is trained from them share one vocabulary, which the
# vectors bring: what an older checkout left in target/imdb was counted by another tokenizer and has to go first.
#
# Vectors and language models never see a film that is held out to choose or to measure, so both ways share them.
set -euo pipefail
data="$1"
cd "$(dirname "$0")/.."
cargo build --release --features train --bin trainer
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

# two COMMAND… -- COMMAND…: both beside each other; fails when either does, and leaves neither running.
two() {
    local first=()
    while [ "$1" != -- ]; do
        first+=("$1")
        shift
    done
    shift
    local failed=0
    "${first[@]}" &
    local beside=$!
    "$@" || failed=$?
    wait "$beside" || failed=$?
    return "$failed"
}

language 128 "$work/lm" 0.003
language 256 "$work/lm256" 0.002
small=(--vectors "$work/lm")
wide=(--vectors "$work/lm256" --embedding-dim 256 --hidden-size 256)
two stage "$teachers/F1" "${small[@]}" -- stage "$teachers/F2" "${small[@]}" --seed 2
two stage "$teachers/S1" "${small[@]}" --teacher "$teachers/F1" --teacher "$teachers/F2" -- stage "$teachers/F3" "${wide[@]}"
stage "$output" "${small[@]}" --short-crops 1 --sentences 2 --teacher "$teachers/F3" --teacher "$teachers/S1"
