#!/usr/bin/env bash
# The cards of the shipped models, and of a model that is trained here, as huggingface_hub reads them; what they show is there.
source "$(dirname "$0")/common.bash"
PYTHON="$(venv tests/outside/clients/requirements.txt)" || skip "huggingface_hub could not be installed from PyPI"
[ -x "$TRAINER" ] || skip "no $TRAINER: cargo build --release --features parquet"
python3 - >"$WORK/own.csv" <<'ROWS'
print("product,stars,review")
for n in range(240):
    stars, word = (5, "quiet") if n % 2 else (1, "noisy")
    print(f'p{n // 2 % 8},{stars},"The vacuum number {n} is {word}, and clean"')
ROWS
"$TRAINER" train --data "$WORK/own.csv" --output "$WORK/own" --vocab-size 400 --max-length 30 --embedding-dim 8 \
    --hidden-size 8 --threads 2 --batch-size 8 --epochs 2 --seeds 2 >/dev/null
cp -r models/keras-imdb "$WORK/completed"
rm "$WORK/completed/"{golden,baseline}.json
"$TRAINER" complete "$WORK/completed" --data "$WORK/own.csv" >/dev/null
cards=(models/keras-imdb "$WORK/own" "$WORK/completed")
# A card from before cards had a head is said, not passed over.
if [ "$(head -c 3 models/imdb/README.md)" = --- ]; then cards+=(models/imdb); else note "models/imdb: its card has no head"; fi
"$PYTHON/bin/python" tests/outside/cards/check.py "${cards[@]}"
