#!/usr/bin/env bash
# What language models are worth to a trained recogniser: greedy, beam search, n-gram fusion, neural rescoring.
set -euo pipefail

usage() {
    cat <<'HELP'
recipes/librispeech/language_models.sh --exp EXP --tune M.jsonl --test M.jsonl --ngram LM --neural LM --out DIR

  --exp EXP        experiment folder of the recogniser
  --tune M.jsonl   manifest that all weights are tuned on
  --test M.jsonl   manifest that the table is of
  --ngram LM       folder of `asr lm train --type ngram`: fused in the beam search
  --neural LM      folder of `asr lm train --type transformer`: rescores the n-best lists
  --out DIR        hypotheses, weights and scores
  --beam-size N    hypotheses kept after each frame, and length of the n-best lists (default 32)
  --device NAME    cpu (default) or cuda

Prints a table of word error rates with their intervals, and p against greedy and the row above (matched pairs).
HELP
}

fail() {
    echo "error: $*" >&2
    exit "${status:-1}"
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exp="" tune="" test="" ngram="" neural="" out="" beam_size=32 device=cpu
while (($#)); do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --exp | --tune | --test | --ngram | --neural | --out | --beam-size | --device)
        (($# > 1)) || status=2 fail "expected a value after $1; see --help"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
    *) status=2 fail "expected an option, found $1; see --help" ;;
    esac
done
for name in exp tune test ngram neural out; do
    [[ -n ${!name} ]] || status=2 fail "expected --$name, found none; see --help"
done

asr=("$repository/.venv/bin/asr")
python=$repository/.venv/bin/python
decode() { # EXP's hypotheses of a manifest; further arguments are the decoder's
    local manifest=$1 hypotheses=$2
    shift 2
    "${asr[@]}" decode "$exp" "$manifest" --out "$hypotheses" --device "$device" "$@"
}
tuned() { # the options that `asr lm tune` found, one word a line
    "${asr[@]}" lm tune "$1" --ref "$tune" --json "$1.weights" >&2
    "$python" -c 'import json, sys
for option in json.load(open(sys.argv[1]))["options"].items(): print(*option, sep="\n")' "$1.weights"
}

mkdir -p "$out"
decode "$test" "$out/greedy.jsonl"
decode "$test" "$out/beam.jsonl" --decoder beam --beam-size "$beam_size"
fused=(--lm "$ngram" --beam-size "$beam_size" --nbest "$beam_size")
# n-best lists are short of what other weights would find: the second round searches with those of the first.
weights=()
for _ in 1 2; do
    decode "$tune" "$out/tune.ngram.jsonl" "${fused[@]}" "${weights[@]}"
    mapfile -t weights < <(tuned "$out/tune.ngram.jsonl")
done
decode "$test" "$out/ngram.jsonl" "${fused[@]}" "${weights[@]}"
rescore() {
    "${asr[@]}" lm rescore "$1" "$neural" --out "$2" --device "$device" "${@:3}"
}
rescore "$out/tune.ngram.jsonl" "$out/tune.neural.jsonl"
mapfile -t rescoring < <(tuned "$out/tune.neural.jsonl")
rescore "$out/ngram.jsonl" "$out/neural.jsonl" "${rescoring[@]}"

rows=() others=()
for system in greedy beam ngram neural; do
    report=$out/$system.score
    "${asr[@]}" score --ref "$test" --hyp "$out/$system.jsonl" "${others[@]}" \
        --json "$report.json" --html "$report.html" >"$report.txt"
    rows+=("$system=$report.json")
    others=(--against "$out/$system.jsonl")
    [[ $system == greedy ]] || others+=(--against "$out/greedy.jsonl")
done
PYTHONPATH=$repository "$python" -m tools.score_table "${rows[@]}"
echo "ngram: ${weights[*]}"
echo "neural: ${rescoring[*]}"
