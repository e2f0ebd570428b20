#!/usr/bin/env bash
# Train attention mechanisms, encoders or variants of a config on one corpus with one budget, and compare their WER.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
    cat <<'HELP'
recipes/librispeech/compare.sh [option ...] [-- section.key=value ...]

  --corpus NAME     synthetic (default) or mini
  --data DIR        as for run.sh
  --rows A,B        rows CONFIG:WORD (default: the corpus's config with every word, and the other encoders)
  --variants FILE   rows are the lines of FILE instead: a name, then options of run.sh and overrides of the
                    corpus's config, such as those of conf/additions.txt
  --against ROW     the row that others are compared with (default: the config with full, or the first variant)
  --seeds N         runs of each row (default 3)
  --train-splits, --dev-splits, --test-splits   as for run.sh
  --results DIR     a small file for each run (default: results in the folder below)
  section.key=value overrides of every config; a row's own come after them

Each run is a run.sh of its own in exp/compare-<corpus>[-<name of FILE>]. A run whose file is in --results is not
repeated, and refused where that file was made with other settings; an interrupted one goes on. The table is printed at
the end, and again by running this command again.
HELP
}

read_options "corpus data rows variants against seeds results train-splits dev-splits test-splits" "$@"
: "${seeds:=3}"

[[ $seeds =~ ^[1-9][0-9]*$ ]] || status=2 fail "expected a number of --seeds above 0, found $seeds"

case ${corpus:=synthetic} in
synthetic) config=conformer_tiny others=transformer_tiny:transformer_xl,lite_transformer_tiny:transformer_xl ;;
mini) config=conformer_mini others="" ;;
*) status=2 fail "expected --corpus synthetic or mini, found $corpus" ;;
esac
declare -A configs settings # of each row; settings are one word after the other
if [[ -n $variants ]]; then
    [[ -z $rows ]] || status=2 fail "expected --rows or --variants, found both; leave one out"
    [[ -f $variants ]] || fail "expected variants at $variants, found no file; give --variants FILE"
    names=()
    while read -r name words || [[ -n $name ]]; do # the last line may lack its end
        [[ -z $name || $name == \#* ]] && continue
        names+=("$name")
        configs[$name]=$config settings[$name]=$words
    done <"$variants"
    ((${#names[@]} > 0)) || fail "expected rows in $variants, found none; write a name and settings a line"
    suffix=-$(basename "$variants" .txt) joined=""
    : "${against:=${names[0]}}"
else
    if [[ -z $rows ]]; then
        "$repository/tools/setup.sh"
        rows=$("$asr" attention --words | sed "s/^/$config:/" | paste -sd,)${others:+,$others}
    fi
    IFS=, read -ra names <<<"$rows"
    for name in "${names[@]}"; do
        configs[$name]=${name%%:*} settings[$name]=model.attention.kind=${name##*:}
    done
    suffix="" joined=yes # longer recordings are what attention is asked about
    : "${against:=$config:full}"
fi
: "${test_splits:=$([[ $corpus == synthetic ]] && echo synthetic-test || echo dev-clean-2)}"
root=$repository/exp/compare-$corpus$suffix
results=${results:-$root/results}
options=(--corpus "$corpus" --test-splits "$test_splits")
for name in train_splits dev_splits; do
    [[ -z ${!name} ]] || options+=("--${name//_/-}" "${!name}")
done
shared=${options[*]}
[[ -z $data ]] || options+=(--data "$data")
"$repository/tools/setup.sh"

compare_results() {
    PYTHONPATH=$repository "$repository/.venv/bin/python" -m tools.compare_results "$@"
}

for seed in $(seq "$seeds"); do
    for row in "${names[@]}"; do
        name=${row/:/-}-$seed
        record=$results/$name.json
        described="$shared --config ${configs[$row]}${rest[*]:+ ${rest[*]}}${settings[$row]:+ ${settings[$row]}}"
        if [[ -e $record ]]; then
            compare_results check "$record" --settings "$described"
            continue
        fi
        echo "== $row, seed $seed" >&2
        own=() overrides=("${rest[@]}" "training.seed=$seed")
        for word in ${settings[$row]}; do
            if [[ $word == *.*=* ]]; then overrides+=("$word"); else own+=("$word"); fi
        done
        "$repository/recipes/librispeech/run.sh" "${options[@]}" "${own[@]}" --exp "$root/$name" \
            --config "$repository/recipes/librispeech/conf/${configs[$row]}.toml" -- "${overrides[@]}"
        splits=()
        for split in ${test_splits//,/ }; do splits+=("$split=$root/$name.data/$split.jsonl"); done
        compare_results record --exp "$root/$name" --row "$row" --seed "$seed" --settings "$described" \
            --out "$record" ${joined:+--joined} "${splits[@]}"
    done
done
compare_results table "$results" --against "$against" --rows "${names[@]}"
