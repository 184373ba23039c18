#!/usr/bin/env bash
# Builds the images that the scripts for container engines need, so that they find them made. `.ci/run` starts it in the
# background: an image keeps one core busy for minutes, and the scripts that run meanwhile mostly wait.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
# Copied into the base image where it is there.
rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1 || true
engine
image
trainer_image
arm64_image
