#!/usr/bin/env bash
# From one language of Common Voice to a word error rate; the stages stand in ../common.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
    cat <<'HELP'
recipes/common_voice/run.sh --data DIR [option ...] [-- section.key=value ...]

  --data DIR           one language, such as cv-corpus-21.0/cy, with train.tsv, dev.tsv, test.tsv and clips/
HELP
    stage_usage
}

read_options "$stage_options" "$@"
[[ -n $data ]] || status=2 fail "expected --data with the folder of a language, found none; see --help"
corpus=common_voice-$(basename "$data")
use_defaults librispeech/conf/conformer_small train dev test 256
check_stage_options

prepare=common_voice download=()
get_corpus() {
    [[ -d $data ]] || fail "expected a language of Common Voice at $data, found no folder"
}

set_up
run_stages
