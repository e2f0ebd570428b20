#!/usr/bin/env bash
# From LibriSpeech, or a corpus made on the spot, to a word error rate; the stages stand in ../common.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
    cat <<'HELP'
recipes/librispeech/run.sh [option ...] [-- section.key=value ...]

  --corpus NAME        synthetic (default; made on the spot), mini, 100h or 960h
  --data DIR           LibriSpeech, or its parent, that is already there; nothing is downloaded
HELP
    stage_usage
}

read_options "corpus $stage_options" "$@"
conf=librispeech/conf
case ${corpus:=synthetic} in
synthetic) use_defaults $conf/conformer_tiny synthetic-train synthetic-dev synthetic-test 64 ;;
mini) use_defaults $conf/conformer_mini train-clean-5 dev-clean-2 dev-clean-2 64 ;;
100h) use_defaults $conf/conformer_small train-clean-100 dev-clean test-clean,test-other 256 ;;
960h)
    use_defaults $conf/conformer_medium train-clean-100,train-clean-360,train-other-500 dev-clean \
        test-clean,test-other 1024
    ;;
*) status=2 fail "expected --corpus synthetic, mini, 100h or 960h, found $corpus" ;;
esac
check_stage_options

prepare=librispeech download=() extras=()
if [[ -z $data ]]; then
    data=$repository/data/$corpus
    if [[ $corpus == synthetic ]]; then extras=(synthetic); else download=(--download); fi
fi

get_corpus() {
    if [[ $corpus == synthetic && $data == "$repository/data/synthetic" ]]; then
        "$asr" prepare synthetic --root "$data"
    elif ((${#download[@]} == 0)); then
        [[ -d $data ]] || fail "expected LibriSpeech or its parent at $data, found no folder"
    fi
}

set_up "${extras[@]}"
run_stages
