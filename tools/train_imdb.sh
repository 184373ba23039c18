#!/usr/bin/env bash
# Trains models/imdb from the raw reviews: word vectors, which bring the vocabulary; the network that was shipped before
# (commit 39a7e1a, whose script of this name made it likewise of the one before) under that vocabulary; and from it the
# model, taught by labels, by made-up sentences and by the opinions in tools/teacher/opinions. A stage that is there already
# is skipped, a stopped one resumed.
#
#     tools/train_imdb.sh aclImdb_v1.tar.gz LIU [OUTPUT]               # the shipped model, into target/imdb/imdb unless
#                                                                      # OUTPUT says otherwise
#     HOLD_OUT=1 tools/train_imdb.sh aclImdb_v1.tar.gz LIU OUTPUT      # with a third of the films set aside, to measure:
#                                                                      # trainer evaluate --on final
#
# LIU is a folder with Bing Liu's pros_cons.zip, on whose phrases there are opinions too, product_reviews_1.zip and
# product_reviews_2.zip, to which the scale by length is fitted (CC BY 4.0). Held-out films must not have been seen: with
# HOLD_OUT the student starts from a language model, which knows none of them, learns from a teacher that knows none, with
# longer steps first, as the networks before did.
set -euo pipefail
data="$(realpath "$1")"
liu="$(realpath "$2")"
output="${3:+$(realpath -m "$3")}"
cd "$(dirname "$0")/.."
cargo build --locked --release --features train --bin trainer
trainer="${CARGO_TARGET_DIR:-target}/release/trainer"
work=target/imdb
output="${output:-$work/imdb}"
before=39a7e1a
mkdir -p "$work"

resume() {
    if [ -e "$1.checkpoint" ]; then echo --resume; fi
}

if [ ! -f "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
    # shellcheck disable=SC2046
    "$work/venv/bin/pip" install --quiet $(grep -E '^(numpy|safetensors)=' tools/teacher/requirements.txt)
fi
python="$work/venv/bin/python"
# The trainer's memory stays with it: handing freed pages back and getting them again takes a fifth of a step.
export MIMALLOC_PURGE_DELAY=-1

if [ ! -f "$work/phrases.txt" ]; then
    "$python" tools/teacher/phrases.py "$liu/pros_cons.zip" "$work/phrases.txt"
fi
if [ ! -f "$work/v128/vectors.safetensors" ]; then
    "$trainer" vectors --data "$data" --output "$work/v128" --dim 128
fi

if [ -z "${HOLD_OUT:-}" ]; then
    start="$work/start"
    if [ ! -f "$start/vectors.safetensors" ]; then
        mkdir -p "$work/before"
        for file in model.safetensors vocab.txt; do
            git show "$before:models/imdb/$file" >"$work/before/$file"
        done
        "$python" tools/teacher/start_from.py "$work/before" "$work/v128/vocab.txt" "$start"
    fi
    learn=(--final-share 0 --validation-share 0.05)
    for file in tools/teacher/opinions/imdb-*.safetensors; do
        learn+=(--opinions "$file")
    done
else
    start="$work/lm"
    if [ ! -f "$start/vectors.safetensors" ]; then
        # shellcheck disable=SC2046
        "$trainer" language --data "$data" --vectors "$work/v128" --output "$start" --epochs 4 --learning-rate 0.003 \
            $(resume "$start")
    fi
    learn=(--opinions tools/teacher/opinions/held-out.safetensors)
fi

if [ -f "$output/model.safetensors" ]; then
    echo "$output is there already"
    exit
fi

# student OUTPUT START PASSES STEP: a student from the vectors and the LSTM in START.
student() {
    if [ -f "$1/model.safetensors" ] && [ ! -e "$1.checkpoint" ]; then return; fi
    mkdir -p "$(dirname "$1")"
    # Nine parts of a batch, whatever the number of cores: the same bytes everywhere.
    # shellcheck disable=SC2046
    "$trainer" train --preset imdb --data "$data" --vectors "$2" "${learn[@]}" --phrases "$work/phrases.txt" \
        --epochs "$3" --batch-size 128 --crop 800 --learning-rate "$4" --short-crops 5 --sentences 2 --threads 9 \
        --output "$1" $(resume "$1")
}

student="$work/student/imdb"
if [ -n "${HOLD_OUT:-}" ]; then
    first="$work/student-held-out/first" student="$work/student-held-out/imdb"
    student "$first" "$start" 6 0.004
    start="$work/first-held-out"
    if [ ! -f "$start/vectors.safetensors" ]; then
        "$python" tools/teacher/start_from.py "$first" "$work/v128/vocab.txt" "$start"
    fi
fi
student "$student" "$start" 2 0.001
python3 tools/teacher/short_texts.py "$liu"/product_reviews_[12].zip "$liu/pros_cons.zip" "$work/liu_short_texts.jsonl"
"$trainer" calibrate --model "$student" --data "$work/liu_short_texts.jsonl" --by-length --output "$output"
