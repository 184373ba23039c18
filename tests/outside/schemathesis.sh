#!/usr/bin/env bash
# Schemathesis makes requests of openapi.yaml, good and bad ones, and compares statuses, media types and bodies with it.
source "$(dirname "$0")/common.bash"
PYTHON="$(venv tests/outside/schemathesis.txt)" || skip "schemathesis could not be installed from PyPI"
serve --model models/keras-imdb --repository-control
# Left out: unloading, after which the model answers nothing; text that is YAML or a page, which is read as data. Not asked
# for: that whatever fits a schema is taken (a schema cannot say that a shape fits its texts).
cd "$WORK"
timeout 300 "$PYTHON/bin/schemathesis" run "$URL/openapi.json" --seed 1 --max-examples 10 --phases examples,fuzzing \
    --exclude-path-regex 'unload$|^/docs|^/openapi.yaml$|^/$' \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
