#!/usr/bin/env bash
# Everything that must hold: lint, types, tests, and the recipe end to end in a two-minute setting.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup.sh dev synthetic
tools/browser.sh
bin=.venv/bin

$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
# Two processes of one thread each: twice as many threads as cores would wait for one another.
OMP_NUM_THREADS=1 $bin/python -m pytest -n 2 "$@"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
recipes/librispeech/run.sh --exp "$scratch/exp" -- \
    training.epochs=1 training.warmup_steps=50
test -s "$scratch/exp/model.safetensors"
test -s "$scratch/exp/decoded/synthetic-test.score.json"
