#!/usr/bin/env bash
# From a corpus to a word error rate. See --help, or read on: the stages stand in reading order.
set -euo pipefail

usage() {
    cat <<'HELP'
recipes/librispeech/run.sh [option ...] [-- section.key=value ...]

  --corpus NAME        synthetic (default; made on the spot), mini, 100h or 960h
  --data DIR           LibriSpeech, or its parent, that is already there; nothing is downloaded
  --exp DIR            experiment folder (default: exp/<corpus>-<config>, with --phones exp/<corpus>-<config>-<voice>)
  --config FILE        default: the corpus's own, below conf/
  --train-splits A,B   default: the corpus's own splits
  --dev-splits A       splits to validate on while training
  --test-splits C,D    splits to decode and score
  --vocab-size N       token pieces (default: the corpus's own)
  --token-type TYPE    unigram, bpe or char (default: unigram)
  --lm-text FILE       text, plain or .gz, one sentence a line: trains a language model on it and on the training
                       transcripts, and decodes with it too
  --lm-unit UNIT       pieces (default), or words: only words of the texts are then found, with fewer errors where the
                       texts have nearly all of them; installs kenlm and flashlight-text
  --phones VOICE       the recogniser writes phones of espeak-ng's VOICE, such as en-us, and the search finds the words of
                       the texts in them: needs --lm-text, and means --lm-unit words and no stages 5 and 6
  --lm-order N         units in its longest n-grams (default 6 pieces or 3 words)
  --device NAME        device to decode on (default: cpu)
  --stage N            first stage (default 1)
  --stop-stage N       last stage (default 8)
  section.key=value    overrides of the config

Stages: 1 corpus  2 manifests  3 tokenizer  4 training  5 decoding  6 scoring; with --lm-text 7 language model, its
weights tuned on the dev splits  8 decoding and scoring with it.
Every stage can be run again: it continues or skips what is done. Interrupt with Ctrl-C at any time.
HELP
}

fail() {
    echo "error: $*" >&2
    exit "${status:-1}"
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
corpus=synthetic data="" exp="" config="" train_splits="" dev_splits="" test_splits=""
vocab_size="" token_type=unigram lm_text="" lm_unit=pieces phones="" lm_order="" device=cpu stage=1 stop_stage=8
while (($#)); do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    --corpus | --data | --exp | --config | --train-splits | --dev-splits | --test-splits | \
        --vocab-size | --token-type | --lm-text | --lm-unit | --phones | --lm-order | --device | --stage | --stop-stage)
        (($# > 1)) || status=2 fail "expected a value after $1; see --help"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
    *) status=2 fail "expected an option, found $1; see --help" ;;
    esac
done
overrides=()
for override in "$@"; do overrides+=(--set "$override"); done

case $corpus in
synthetic) defaults=(conformer_tiny synthetic-train synthetic-dev synthetic-test 64) ;;
mini) defaults=(conformer_mini train-clean-5 dev-clean-2 dev-clean-2 64) ;;
100h) defaults=(conformer_small train-clean-100 dev-clean test-clean,test-other 256) ;;
960h) defaults=(conformer_medium train-clean-100,train-clean-360,train-other-500 dev-clean
    test-clean,test-other 1024) ;;
*) status=2 fail "expected --corpus synthetic, mini, 100h or 960h, found $corpus" ;;
esac
config=${config:-$repository/recipes/librispeech/conf/${defaults[0]}.toml}
train_splits=${train_splits:-${defaults[1]}}
dev_splits=${dev_splits:-${defaults[2]}}
test_splits=${test_splits:-${defaults[3]}}
vocab_size=${vocab_size:-${defaults[4]}}
config_name=$(basename "$config" .toml)
exp=${exp:-$repository/exp/$corpus-$config_name${phones:+-$phones}}
exp=${exp%/}
[[ -f $config ]] || fail "expected a config at $config, found no file; give --config FILE"
[[ -z $lm_text || -f $lm_text ]] || fail "expected text at $lm_text, found no file; give --lm-text FILE"

for number in "$stage" "$stop_stage"; do
    [[ $number =~ ^[1-8]$ ]] || status=2 fail "expected --stage and --stop-stage from 1 to 8, found $number"
done
((stage <= stop_stage)) || status=2 fail "expected --stage up to --stop-stage $stop_stage, found $stage"
[[ -n $lm_text || $stage -lt 7 ]] || status=2 fail "expected --lm-text with --stage $stage, found none"
check_split_name() { # $1 becomes the manifest that joins the splits $2: no other split may be called so
    [[ $2 == "$1" || ,$train_splits,$dev_splits,$test_splits, != *,$1,* ]] ||
        status=2 fail "expected no split named $1 beside others, found one; rename its folder"
}
check_split_name train "$train_splits"
check_split_name validation "$dev_splits"

[[ -z $phones ]] || lm_unit=words
[[ -z $phones || -n $lm_text ]] || status=2 fail "expected --lm-text with --phones, found none"
case $lm_unit in
pieces) : "${lm_order:=6}" ;;
words) : "${lm_order:=3}" ;;
*) status=2 fail "expected --lm-unit pieces or words, found $lm_unit" ;;
esac

extras=()
[[ ($corpus == synthetic && -z $data) || -n $phones ]] && extras+=(synthetic)
[[ -n $lm_text && $lm_unit == words ]] && extras+=(lm)
"$repository/tools/setup.sh" "${extras[@]}"
asr=("$repository/.venv/bin/asr")

download=()
if [[ -z $data ]]; then
    data=$repository/data/$corpus
    [[ $corpus == synthetic ]] || download=(--download)
fi
manifests=$exp.data units=$exp.data
[[ -z $phones ]] || units=$manifests/phones
running() { ((stage <= $1 && $1 <= stop_stage)); }
announce() { echo "== stage $1: $2" >&2; }

if running 1; then
    announce 1 corpus
    if [[ $corpus == synthetic && $data == "$repository/data/synthetic" ]]; then
        "${asr[@]}" prepare synthetic --root "$data"
    elif ((${#download[@]} == 0)); then
        [[ -d $data ]] || fail "expected LibriSpeech or its parent at $data, found no folder"
    fi
fi

if running 2; then
    announce 2 manifests
    splits=$(printf '%s\n' "$train_splits,$dev_splits,$test_splits" | tr , '\n' | awk '!seen[$0]++' | paste -sd, -)
    "${asr[@]}" prepare librispeech --root "$data" --splits "$splits" "${download[@]}" --out "$manifests"
    join() { # the manifests of several splits as one; their audio paths are relative to the same folder
        local split
        for split in ${1//,/ }; do cat "$manifests/$split.jsonl"; done >"$2.part"
        mv "$2.part" "$2"
    }
    join "$train_splits" "$manifests/train.jsonl"
    join "$dev_splits" "$manifests/validation.jsonl"
    if [[ -n $phones ]]; then
        for name in train validation; do
            "${asr[@]}" pronounce "$manifests/$name.jsonl" --voice "$phones" --out "$units/$name.jsonl"
        done
    fi
fi

if running 3; then
    announce 3 tokenizer
    "${asr[@]}" tokenize --manifest "$units/train.jsonl" --vocab-size "$vocab_size" \
        --type "$token_type" --out "$units/tokenizer"
fi

if running 4; then
    announce 4 training
    resume=()
    [[ -e $exp ]] && resume=(--resume)
    "${asr[@]}" train "$config" --out "$exp" "${resume[@]}" \
        --set "data.train=$units/train.jsonl" \
        --set "data.validation=$units/validation.jsonl" \
        --set "data.tokenizer=$units/tokenizer" "${overrides[@]}"
fi

if running 5 && [[ -z $phones ]]; then
    announce 5 decoding
    for split in ${test_splits//,/ }; do
        "${asr[@]}" decode "$exp" "$manifests/$split.jsonl" --out "$exp/decoded/$split.jsonl" \
            --device "$device"
    done
fi

report() { # the scores of a split, decoded into a folder; further arguments are the score command's
    local split=$1 folder=$2
    shift 2
    echo "$split${folder#"$exp/decoded"}"
    "${asr[@]}" score --ref "$manifests/$split.jsonl" --hyp "$folder/$split.jsonl" "$@" \
        --json "$folder/$split.score.json" --html "$folder/$split.score.html" >"$folder/$split.score.txt"
    head -n 3 "$folder/$split.score.txt"
    echo "report: $folder/$split.score.txt, .json and .html"
}

if running 6 && [[ -z $phones ]]; then
    announce 6 scoring
    for split in ${test_splits//,/ }; do report "$split" "$exp/decoded"; done
fi

[[ -n $lm_text && $stop_stage -ge 7 ]] || exit 0
if [[ $lm_unit == words ]]; then
    lm=$manifests/words.arpa.gz fused=(--lm "$lm" ${phones:+--lexicon "$units/lexicon.txt"})
else
    lm=$manifests/lm fused=(--lm "$lm" --beam-size 16)
fi
made_from="$lm_unit $lm_order ${phones:+$phones }$(cat "$lm_text" "$manifests/train.jsonl" "$units/tokenizer"/* | cksum)"
stamp=$manifests/lm.made_from weights_file=$exp/decoded/lm/weights.json
is_trained() { [[ -e $lm && -e $stamp && $(<"$stamp") == "$made_from" ]]; }
train_lm() {
    local texts=(--text "$lm_text" --text "$manifests/train.jsonl")
    rm -rf "$stamp" "$lm" "$weights_file"
    if [[ $lm_unit == words ]]; then
        "${asr[@]}" lm train --type word-ngram --order "$lm_order" "${texts[@]}" --out "$lm"
        [[ -z $phones ]] || "${asr[@]}" pronounce "$lm" --voice "$phones" --tokenizer "$units/tokenizer" \
            --out "$units/lexicon.txt"
    else
        "${asr[@]}" lm train --type ngram --order "$lm_order" "${texts[@]}" \
            --tokenizer "$manifests/tokenizer" --out "$lm"
    fi
    echo "$made_from" >"$stamp"
}
read_weights() { # the options that `asr lm tune` found
    local lines
    lines=$("$repository/.venv/bin/python" -c 'import json, sys
for option in json.load(open(sys.argv[1]))["options"].items(): print(*option, sep="\n")' "$weights_file")
    mapfile -t weights <<<"$lines"
}
if running 7; then
    announce 7 "language model"
    is_trained || train_lm
    # n-best lists are short of what other weights would find: the second round searches with those of the first.
    weights=()
    for _ in 1 2; do
        "${asr[@]}" decode "$exp" "$manifests/validation.jsonl" --out "$exp/decoded/lm/validation.jsonl" \
            "${fused[@]}" --nbest 16 "${weights[@]}" --device "$device"
        "${asr[@]}" lm tune "$exp/decoded/lm/validation.jsonl" --ref "$manifests/validation.jsonl" \
            --json "$weights_file" >&2
        read_weights
    done
fi

if running 8; then
    announce 8 "decoding and scoring with the language model"
    is_trained || fail "expected a language model made from these texts at $lm, found none; run --stage 7"
    [[ -f $weights_file ]] || fail "expected tuned weights at $weights_file, found no file; run --stage 7"
    read_weights
    for split in ${test_splits//,/ }; do
        "${asr[@]}" decode "$exp" "$manifests/$split.jsonl" --out "$exp/decoded/lm/$split.jsonl" \
            "${fused[@]}" "${weights[@]}" --device "$device"
        against=(--against "$exp/decoded/$split.jsonl")
        [[ -z $phones ]] || against=()
        report "$split" "$exp/decoded/lm" "${against[@]}"
    done
fi
