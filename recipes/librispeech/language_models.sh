#!/usr/bin/env bash
# What language models are worth to a trained recogniser: greedy, beam search, n-grams of pieces and of words, rescoring.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

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

read_options "exp tune test ngram words lexicon neural second out beam-size nbest blank-penalty device" "$@"
((${#rest[@]} == 0)) || status=2 fail "expected options alone, found -- ${rest[*]}; see --help"
: "${beam_size:=32}" "${nbest:=$beam_size}" "${blank_penalty:=0}" "${device:=cpu}"
for name in exp tune test out; do
    [[ -n ${!name} ]] || status=2 fail "expected --$name, found none; see --help"
done

[[ -z $lexicon || (-n $words && -z $ngram) ]] ||
    status=2 fail "expected --words and no --ngram with --lexicon; see --help"

for name in beam_size nbest; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || status=2 fail "expected a number of --${name//_/-} above 0, found ${!name}"
done
((nbest <= beam_size)) || status=2 fail "expected --nbest of at most --beam-size, found $nbest and $beam_size"

rescore() { # n-best lists $1 of manifest $2 with scores of $3, neural=LM or second=EXP; further arguments are the command's
    local audio=()
    [[ $3 == neural=* ]] || audio=(--audio "$2")
    "$asr" rescore "$out/$1.jsonl" --add "$3" "${audio[@]}" --out "$out/$1-${3%%=*}.jsonl" --device "$device" "${@:4}"
}
search() { # a language model in the search, named $1; further arguments are the decoder's
    local system=$1 options=(--nbest "$nbest" --blank-penalty "$blank_penalty" "${@:2}")
    tune_decoder "$tune" "$out/tune.$system.jsonl" "$out/tune.$system.json" "${options[@]}"
    decode "$test" "$out/$system.jsonl" "${options[@]}" --weights "$out/tune.$system.json"
    systems+=("$system")
    local added rescored
    for added in ${neural:+"neural=$neural"} ${second:+"second=$second"}; do
        rescored=$system-${added%%=*}
        rescore "tune.$system" "$tune" "$added"
        tune_weights "$tune" "$out/tune.$rescored.jsonl" "$out/tune.$rescored.json"
        rescore "$system" "$test" "$added" --weights "$out/tune.$rescored.json"
        systems+=("$rescored")
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
    score "$out/$system" "$test" "${others[@]}"
    rows+=("$system=$out/$system.score.json")
    others=(--against "$out/$system.jsonl")
    [[ $system == greedy || -n $lexicon ]] || others+=(--against "$out/greedy.jsonl")
done
PYTHONPATH=$repository "$repository/.venv/bin/python" -m tools.score_table "${rows[@]}"
for system in "${systems[@]:untuned}"; do
    echo "$system: $(sed -n '/^use: /{s///p;q}' "$out/tune.$system.txt")"
done
