#!/usr/bin/env bash
# Train attention mechanisms and encoders on one corpus with one budget, and compare their word error rates.
set -euo pipefail

usage() {
    cat <<'HELP'
recipes/librispeech/compare.sh [option ...] [-- section.key=value ...]

  --corpus NAME     synthetic (default) or mini
  --data DIR        as for run.sh
  --rows A,B        rows CONFIG:WORD (default: the corpus's config with every word, and the other encoders)
  --against ROW     the row that others are compared with (default: the config with full)
  --seeds N         runs of each row (default 3)
  --train-splits, --dev-splits, --test-splits   as for run.sh
  --results DIR     a small file for each run (default: recipes/librispeech/results/<corpus>)
  section.key=value overrides of every config

Each run is a run.sh of its own in exp/compare-<corpus>. A run whose file is in --results is not repeated; an interrupted
one goes on. The table is printed at the end, and again by running this command again.
HELP
}

fail() {
    echo "error: $*" >&2
    exit "${status:-1}"
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
corpus=synthetic data="" rows="" against="" seeds=3 results="" train_splits="" dev_splits="" test_splits=""
while (($#)); do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    --corpus | --data | --rows | --against | --seeds | --results | --train-splits | --dev-splits | --test-splits)
        (($# > 1)) || status=2 fail "expected a value after $1; see --help"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
    *) status=2 fail "expected an option, found $1; see --help" ;;
    esac
done

words=full,alibi,transformer_xl,adaptive_span,all_attention,longformer,logsparse,reformer,performer,linformer
case $corpus in
synthetic) config=conformer_tiny others=transformer_tiny:transformer_xl,lite_transformer_tiny:transformer_xl ;;
mini) config=conformer_mini others="" ;;
*) status=2 fail "expected --corpus synthetic or mini, found $corpus" ;;
esac
: "${rows:=$config:${words//,/,$config:}${others:+,$others}}"
: "${against:=$config:full}"
: "${test_splits:=$([[ $corpus == synthetic ]] && echo synthetic-test || echo dev-clean-2)}"
results=${results:-$repository/recipes/librispeech/results/$corpus}
root=$repository/exp/compare-$corpus
options=(--corpus "$corpus" --test-splits "$test_splits")
for name in data train_splits dev_splits; do
    [[ -z ${!name} ]] || options+=("--${name//_/-}" "${!name}")
done

compare_results() {
    PYTHONPATH=$repository "$repository/.venv/bin/python" -m tools.compare_results "$@"
}

for seed in $(seq "$seeds"); do
    for row in ${rows//,/ }; do
        name=${row/:/-}-$seed
        [[ -e $results/$name.json ]] && continue
        echo "== $row, seed $seed" >&2
        "$repository/recipes/librispeech/run.sh" "${options[@]}" --exp "$root/$name" \
            --config "$repository/recipes/librispeech/conf/${row%%:*}.toml" \
            -- "model.attention.kind=${row##*:}" "training.seed=$seed" "$@"
        splits=()
        for split in ${test_splits//,/ }; do splits+=("$split=$root/$name.data/$split.jsonl"); done
        compare_results record --exp "$root/$name" \
            --row "$row" --seed "$seed" --out "$results/$name.json" "${splits[@]}"
    done
done
compare_results table "$results" --against "$against"
