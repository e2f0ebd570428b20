#!/usr/bin/env bash
# Everything that must hold: lint, types, the quick tests, the slow ones, and the recipe end to end in
# a two-minute setting. Arguments pass to pytest: tools/test.sh tests/ctc -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup.sh dev synthetic
tools/browser.sh
bin=.venv/bin

$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
# Two processes of one thread each: twice as many threads as cores would wait for one another.
ran=0
run_tests() {
    local status=0
    OMP_NUM_THREADS=1 $bin/python -m pytest -n 2 "$@" || status=$?
    # 5: the arguments choose none of these tests.
    ((status == 0 || status == 5)) || exit "$status"
    ((status == 5)) || ran=1
}
run_tests "$@" -m "not slow"
run_tests "$@" -m slow
((ran)) || { echo "error: expected tests, found none with: $*; give other arguments" >&2; exit 5; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
recipes/librispeech/run.sh --exp "$scratch/exp" -- \
    training.epochs=1 training.warmup_steps=50
test -s "$scratch/exp/model.safetensors"
test -s "$scratch/exp/decoded/synthetic-test.score.json"
