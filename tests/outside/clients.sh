#!/usr/bin/env bash
# Other people's Python clients ask the running server: huggingface_hub, tritonclient, kserve, open-inference-openapi,
# openai, tei_client.
source "$(dirname "$0")/common.bash"
PYTHON="$(venv tests/outside/clients/requirements.txt)" || skip "the clients could not be installed from PyPI"
serve --model models/keras-imdb --api-key secret
guarded="$URL"
serve --model models/keras-imdb --repository-control
"$PYTHON/bin/python" tests/outside/clients/ask.py "$URL" "$guarded"
