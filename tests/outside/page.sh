#!/usr/bin/env bash
# The page in a real browser, against the real server with the shipped models: what a person does with it, and what an
# accessibility checker says. `KEEP=folder tests/outside/page.sh` keeps screenshots at three widths in both colour schemes.
source "$(dirname "$0")/common.bash"
need chromium
need chromedriver chromium-driver

# axe-core comes from npm's registry, by npm itself.
AXE=""
if command -v npm >/dev/null; then
    mkdir -p "$CACHE/axe"
    [ -e "$CACHE/axe/node_modules/axe-core/axe.min.js" ] ||
        npm install --silent --no-audit --no-fund --prefix "$CACHE/axe" axe-core@4.10.3 >/dev/null 2>&1 || true
    AXE="$CACHE/axe/node_modules/axe-core/axe.min.js"
fi
[ -e "$AXE" ] || { AXE=""; note "accessibility not tried: axe-core could not be installed (npm)"; }

AXE="$AXE" python3 tests/outside/page.py
