#!/usr/bin/env bash
# usage: scripts/install.sh app|dev
# Installs the package (dev: and the tools that test it) into .venv, editable.
set -euo pipefail
cd "$(dirname "$0")/.."
kind="$1"

if ! .venv/bin/python -c '' 2>/dev/null; then # absent, or of a Python that is gone
    rm -rf .venv
    "${PYTHON:-python3}" -m venv .venv
fi
pip=(.venv/bin/python -m pip -qq --disable-pip-version-check) # errors only
echo "Installing into .venv; the first time this takes a few minutes"
"${pip[@]}" install --upgrade "pip>=25.1" # older ones know no dependency groups

# torch first and by its pinned build: resolved together with the rest, a CPU build may be
# replaced by a newer one that brings several GB of CUDA. To get the CPU build from its own
# index: make TORCH_INDEX=https://download.pytorch.org/whl/cpu …
index=()
if [[ -n "${TORCH_INDEX:-}" ]]; then
    index=(--index-url "$TORCH_INDEX")
fi
"${pip[@]}" install "${index[@]}" --constraint constraints.txt torch

if [[ "$kind" == dev ]]; then
    "${pip[@]}" install --constraint constraints.txt --editable ".[all]" --group dev
    touch .venv/app.stamp
else
    "${pip[@]}" install --constraint constraints.txt --editable ".[all]"
fi
touch ".venv/$kind.stamp"
