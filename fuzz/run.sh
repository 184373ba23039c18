#!/usr/bin/env bash
# Runs a fuzz target with the stable compiler: coverage comes from LLVM's own pass, libFuzzer from the libfuzzer-sys
# package (a C++ compiler builds it). What is found lies in fuzz/artifacts/TARGET.
#
#     fuzz/run.sh request_body|tokenizer|model_directory [SECONDS, 60 by default]
set -euo pipefail
target="$1"
seconds="${2:-60}"
cd "$(dirname "$0")"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
triple="$(rustc -vV | sed -n 's/^host: //p')"
# With --target the flags do not reach build scripts, which would lack libFuzzer's functions.
cargo build --release --target "$triple" --bin "$target"
mkdir -p "corpus/$target" "artifacts/$target"
"${CARGO_TARGET_DIR:-target}/$triple/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
    -max_total_time="$seconds" -max_len=6000 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
