#!/usr/bin/env bash
# openapi.yaml as other people's tools read it: it is valid; generators for seven languages take it without a complaint; the
# clients that can be built here ask the running server.
source "$(dirname "$0")/common.bash"
need java default-jre-headless
PYTHON="$(venv tests/outside/generators/requirements.txt)" || skip "the generators could not be installed from PyPI"

"$PYTHON/bin/openapi-spec-validator" openapi.yaml

for language in python typescript-fetch java kotlin go csharp rust; do
    "$PYTHON/bin/openapi-generator-cli" generate -i openapi.yaml -g "$language" -o "$WORK/$language" >"$WORK/$language.log" 2>&1 || {
        grep -vE '^\s+at ' "$WORK/$language.log" | tail -n 30
        echo "OpenAPI Generator refuses the description for $language" >&2
        exit 1
    }
    if grep -E '\[main\] ERROR' "$WORK/$language.log"; then
        echo "OpenAPI Generator complains for $language" >&2
        exit 1
    fi
done
"$PYTHON/bin/openapi-python-client" generate --path openapi.yaml --output-path "$WORK/small" --meta none

serve --model models/keras-imdb
PYTHONPATH="$WORK/python:$WORK" "$PYTHON/bin/python" tests/outside/generators/ask.py "$URL"

# The Rust client; what it is built of is pinned by Cargo.lock.
cp -r tests/outside/generators/rust "$WORK/ask"
CARGO_TARGET_DIR="$CACHE/rust-client" cargo run --quiet --locked --manifest-path "$WORK/ask/Cargo.toml" -- "$URL"

if ! command -v npm >/dev/null; then
    note "not tried: the TypeScript clients: no npm here"
    exit
fi
mkdir -p "$WORK/node"
cp tests/outside/generators/package.json tests/outside/generators/*.ts "$WORK/node/"
(cd "$WORK/node" && npm install --no-audit --no-fund --silent --cache "$CACHE/npm") || {
    note "not tried: the TypeScript clients: npm could not install openapi-typescript"
    exit
}
cp -r "$WORK/typescript-fetch" "$WORK/node/fetch"
cd "$WORK/node"
npx openapi-typescript "$ROOT/openapi.yaml" -o schema.d.ts >/dev/null
npx tsc --strict --target es2022 --module nodenext --moduleResolution nodenext --skipLibCheck --outDir built ask.ts
node built/ask.js "$URL"
# The generated client is written for a bundler; as CommonJS its imports are found without one.
npx tsc --strict --target es2022 --module esnext --moduleResolution bundler --lib es2022,dom --skipLibCheck --noEmit fetch/index.ts
npx tsc --strict --target es2022 --module commonjs --moduleResolution node10 --lib es2022,dom --skipLibCheck --outDir fetched ask_fetch.ts
echo '{"type": "commonjs"}' >fetched/package.json
node fetched/ask_fetch.js "$URL"
