#!/usr/bin/env bash
# Triton's own load generator, unchanged, against the running server: both models, one client and two, one text and four in a
# request. Its wheel is made for the C library 2.38: where this system's is older, it runs by the libraries of Debian 13.
source "$(dirname "$0")/common.bash"
need python3
version=2.60.0
folder="$CACHE/perf_analyzer-$version"
if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder" && mkdir -p "$folder/lists/partial" "$folder/debs" "$folder/root"
    python3 -m pip -q --disable-pip-version-check download --no-deps --only-binary :all: --platform manylinux_2_38_x86_64 \
        -d "$folder" "perf-analyzer==$version" >"$WORK/pip" 2>&1 || skip "no perf-analyzer $version on PyPI for this machine: $(tail -1 "$WORK/pip")"
    python3 -m zipfile -e "$folder"/*.whl "$folder/wheel"
    chmod +x "$folder/wheel/perf_analyzer/bin/perf_analyzer"
    if ! "$folder/wheel/perf_analyzer/bin/perf_analyzer" --version >/dev/null 2>&1; then
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "it wants a newer C library, and no Debian is here to give one"
        # Lists of their own: nothing of the next release gets into this system.
        printf 'Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' >"$folder/trixie.sources"
        apt_13() {
            apt-get -qq -o Dir::Etc::sourcelist="$folder/trixie.sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$folder/lists" \
                -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@"
        }
        apt_13 update >/dev/null 2>&1 || skip "Debian 13 cannot be reached for its C library"
        (cd "$folder/debs" && apt_13 download libc6 libstdc++6 libgcc-s1 libssl3t64 zlib1g libzstd1 >/dev/null 2>&1) || skip "Debian 13 gives no C library"
        for deb in "$folder/debs"/*.deb; do dpkg-deb -x "$deb" "$folder/root"; done
        rm -rf "$folder/debs" "$folder/lists"
    fi
    touch "$folder/complete"
fi
perf_analyzer() {
    local program="$folder/wheel/perf_analyzer/bin/perf_analyzer" libraries="$folder/root/usr/lib/x86_64-linux-gnu"
    if [ -d "$libraries" ]; then
        "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$program" "$@"
    else
        "$program" "$@"
    fi
}

serve --model models/keras-imdb --model models/imdb
place="${URL#http://}"
python3 - "$WORK" <<'PY'
import json, random, sys
random.seed(7)
words = "a gripping beautifully shot film that i would not watch twice dull acting and plot".split()
text = lambda: " ".join(random.choices(words, k=random.randint(5, 200)))
for count in (1, 4):
    data = [{"text": {"content": [text() for _ in range(count)], "shape": [count]}} for _ in range(20)]
    json.dump({"data": data}, open(f"{sys.argv[1]}/{count}.json", "w"))
PY
for model in keras-imdb imdb; do
    for count in 1 4; do
        perf_analyzer -m "$model" -u "$place" --input-data "$WORK/$count.json" --shape "text:$count" --concurrency-range 1:2 \
            --measurement-mode count_windows --measurement-request-count 100 --stability-percentage 999 --max-trials 3 \
            -f "$WORK/$model-$count.csv" >"$WORK/out" 2>&1 || { tail -20 "$WORK/out" >&2; echo "perf_analyzer fails on $model, $count texts a request" >&2; exit 1; }
        grep -q "failed to\|error" "$WORK/out" && { cat "$WORK/out" >&2; exit 1; }
    done
done
# Its report has a line for each number of clients, with a rate and the server's own time, which it reads from the statistics.
python3 - "$WORK" <<'PY'
import csv, glob, sys
reports = sorted(glob.glob(f"{sys.argv[1]}/*-[14].csv"))
assert len(reports) == 4, reports
for report in reports:
    rows = list(csv.DictReader(open(report)))
    # It sorts them by their rates.
    assert sorted(row["Concurrency"] for row in rows) == ["1", "2"], rows
    for row in rows:
        assert float(row["Inferences/Second"]) > 0 and float(row["Server Compute Infer"]) > 0, row
PY
# A model that there is not is refused in the server's own words.
if perf_analyzer -m nobody -u "$place" >"$WORK/out" 2>&1; then echo "perf_analyzer measures a model that there is not" >&2; exit 1; fi
grep -q "no model of that name" "$WORK/out" || { tail -5 "$WORK/out" >&2; exit 1; }
echo "perf_analyzer $version measures both models"
