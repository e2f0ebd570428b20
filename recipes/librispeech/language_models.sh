#!/usr/bin/env bash
# What language models are worth to a trained recogniser: greedy, beam search, n-grams of pieces and of words, rescoring.
set -euo pipefail

usage() {
    cat <<'HELP'
recipes/librispeech/language_models.sh --exp EXP --tune M.jsonl --test M.jsonl --out DIR [option ...]

  --exp EXP        experiment folder of the recogniser
  --tune M.jsonl   manifest that all weights are tuned on
  --test M.jsonl   manifest that the table is of
  --ngram LM       folder of `asr lm train --type ngram`: fused in the beam search
  --words LM       ARPA file over words, such as of `asr lm train --type word-ngram`: only its words are found
  --lexicon FILE   spellings of these words, as of `asr pronounce`: the recogniser writes phones, which only the search
                   over words turns into words
  --neural LM      folder of `asr lm train --type transformer`: rescores the n-best lists of each of these
  --second EXP     another recogniser, one of spelling: rescores the n-best lists of each of these
  --out DIR        hypotheses, weights and scores
  --beam-size N    hypotheses after each frame of the search over pieces (default 32; over words it is 100)
  --nbest N        length of the n-best lists, at most the beam size (default: the beam size)
  --blank-penalty X
                   taken from the blank's log-probability in all searches with a language model (default 0); choose it
                   by the figures of the tuning set, which are printed on the way
  --device NAME    cpu (default) or cuda

Prints a table of word error rates with their intervals, and p against greedy and the row above (matched pairs).
HELP
}

fail() {
    echo "error: $*" >&2
    exit "${status:-1}"
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exp="" tune="" test="" ngram="" words="" lexicon="" neural="" second="" out="" beam_size=32 nbest="" blank_penalty=0 device=cpu
while (($#)); do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --exp | --tune | --test | --ngram | --words | --lexicon | --neural | --second | --out | --beam-size | --nbest | --blank-penalty | --device)
        (($# > 1)) || status=2 fail "expected a value after $1; see --help"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
    *) status=2 fail "expected an option, found $1; see --help" ;;
    esac
done
for name in exp tune test out; do
    [[ -n ${!name} ]] || status=2 fail "expected --$name, found none; see --help"
done

[[ -z $lexicon || (-n $words && -z $ngram) ]] ||
    status=2 fail "expected --words and no --ngram with --lexicon; see --help"

nbest=${nbest:-$beam_size}
for name in beam_size nbest; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || status=2 fail "expected a number of --${name//_/-} above 0, found ${!name}"
done
((nbest <= beam_size)) || status=2 fail "expected --nbest of at most --beam-size, found $nbest and $beam_size"

asr=("$repository/.venv/bin/asr")
python=$repository/.venv/bin/python
decode() { # EXP's hypotheses of a manifest; further arguments are the decoder's
    local manifest=$1 hypotheses=$2
    shift 2
    "${asr[@]}" decode "$exp" "$manifest" --out "$hypotheses" --device "$device" "$@"
}
tune_weights() { # writes the options that `asr lm tune` finds to $1.options, one word a line
    "${asr[@]}" lm tune "$1" --ref "$tune" --json "$1.weights" >&2
    "$python" -c 'import json, sys
for option in json.load(open(sys.argv[1]))["options"].items(): print(*option, sep="\n")' "$1.weights" >"$1.options"
    mapfile -t weights <"$1.options"
}
rescore() { # n-best lists $1 of manifest $2 by the language model $neural or the recogniser $second, which $3 says
    local command=(lm rescore "$out/$1.jsonl" "$neural")
    [[ $3 == neural ]] || command=(rescore "$out/$1.jsonl" "$second" "$2")
    "${asr[@]}" "${command[@]}" --out "$out/$1-$3.jsonl" --device "$device" "${@:4}"
}
search() { # a language model in the search, named $1; further arguments are the decoder's
    local system=$1 weights=() options=(--nbest "$nbest" --blank-penalty "$blank_penalty" "${@:2}")
    # n-best lists are short of what other weights would find: the second round searches with those of the first.
    for _ in 1 2; do
        decode "$tune" "$out/tune.$system.jsonl" "${options[@]}" "${weights[@]}"
        tune_weights "$out/tune.$system.jsonl"
    done
    decode "$test" "$out/$system.jsonl" "${options[@]}" "${weights[@]}"
    systems+=("$system")
    local model
    for model in ${neural:+neural} ${second:+second}; do
        rescore "tune.$system" "$tune" "$model"
        tune_weights "$out/tune.$system-$model.jsonl"
        rescore "$system" "$test" "$model" "${weights[@]}"
        systems+=("$system-$model")
    done
}

mkdir -p "$out"
systems=()
if [[ -z $lexicon ]]; then
    decode "$test" "$out/greedy.jsonl"
    decode "$test" "$out/beam.jsonl" --decoder beam --beam-size "$beam_size"
    systems=(greedy beam)
fi
untuned=${#systems[@]}
[[ -z $ngram ]] || search ngram --lm "$ngram" --beam-size "$beam_size"
[[ -z $words ]] || search words --lm "$words" ${lexicon:+--lexicon "$lexicon"}

rows=() others=()
for system in "${systems[@]}"; do
    report=$out/$system.score
    "${asr[@]}" score --ref "$test" --hyp "$out/$system.jsonl" "${others[@]}" \
        --json "$report.json" --html "$report.html" >"$report.txt"
    rows+=("$system=$report.json")
    others=(--against "$out/$system.jsonl")
    [[ $system == greedy || -n $lexicon ]] || others+=(--against "$out/greedy.jsonl")
done
PYTHONPATH=$repository "$python" -m tools.score_table "${rows[@]}"
for system in "${systems[@]:untuned}"; do
    echo "$system: $(paste -sd' ' "$out/tune.$system.jsonl.options")"
done
