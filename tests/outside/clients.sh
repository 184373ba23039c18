#!/usr/bin/env bash
# Other people's Python clients ask the running server: huggingface_hub, tritonclient, open-inference-openapi.
source "$(dirname "$0")/common.bash"
PYTHON="$(venv tests/outside/clients/requirements.txt)" || skip "the clients could not be installed from PyPI"
serve --model models/keras-imdb
"$PYTHON/bin/python" tests/outside/clients/ask.py "$URL"
