# What recipes share: options, set-up, and the stages from a corpus to a word error rate. Sourced, never run.
#
# A recipe defines `usage` and `get_corpus` (stage 1), reads its options with read_options, gives its defaults with
# use_defaults, calls check_stage_options, sets `corpus`, `data`, `prepare` (the word of `asr prepare`) and the array
# `download` (further options of it), and ends with set_up EXTRA... and run_stages.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
asr=$repository/.venv/bin/asr

fail() { # the message, with exit status $status or 1
    echo "error: $*" >&2
    exit "${status:-1}"
}

# read_options "NAME ..." "$@": the value after each --NAME becomes the variable of that name, with _ for -, which is empty
# where the option is not given. What stands after -- becomes the array `rest`.
read_options() {
    local names=" $1 " name
    for name in $1; do printf -v "${name//-/_}" ""; done
    shift
    rest=()
    while (($#)); do
        case $1 in
        -h | --help) usage && exit 0 ;;
        --) rest=("${@:2}") && return ;;
        esac
        name=${1#--}
        [[ $1 == --* && $name != *\ * && $names == *" $name "* ]] ||
            status=2 fail "expected an option, found $1; see --help"
        (($# > 1)) || status=2 fail "expected a value after $1; see --help"
        printf -v "${name//-/_}" %s "$2"
        shift 2
    done
}

stage_options="data exp config train-splits dev-splits test-splits vocab-size token-type"
stage_options+=" lm-text lm-unit phones lm-order device stage stop-stage"

stage_usage() { # what --help says of these options
    cat <<'HELP'
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

use_defaults() { # CONFIG TRAIN_SPLITS DEV_SPLITS TEST_SPLITS VOCAB_SIZE, where no option says otherwise
    : "${config:=$repository/recipes/$1.toml}" "${train_splits:=$2}" "${dev_splits:=$3}" "${test_splits:=$4}"
    : "${vocab_size:=$5}"
}

check_stage_options() {
    : "${token_type:=unigram}" "${device:=cpu}" "${stage:=1}" "${stop_stage:=8}" "${lm_unit:=pieces}"
    : "${exp:=$repository/exp/$corpus-$(basename "$config" .toml)${phones:+-$phones}}"
    exp=${exp%/}
    [[ -f $config ]] || fail "expected a config at $config, found no file; give --config FILE"
    [[ -z $lm_text || -f $lm_text ]] || fail "expected text at $lm_text, found no file; give --lm-text FILE"
    local number
    for number in "$stage" "$stop_stage"; do
        [[ $number =~ ^[1-8]$ ]] || status=2 fail "expected --stage and --stop-stage from 1 to 8, found $number"
    done
    ((stage <= stop_stage)) || status=2 fail "expected --stage up to --stop-stage $stop_stage, found $stage"
    [[ -n $lm_text || $stage -lt 7 ]] || status=2 fail "expected --lm-text with --stage $stage, found none"
    check_split_name train "$train_splits"
    check_split_name validation "$dev_splits"
    [[ -z $phones ]] || lm_unit=words
    [[ -z $phones || -n $lm_text ]] || status=2 fail "expected --lm-text with --phones, found none"
    case $lm_unit in
    pieces) : "${lm_order:=6}" ;;
    words) : "${lm_order:=3}" ;;
    *) status=2 fail "expected --lm-unit pieces or words, found $lm_unit" ;;
    esac
}

check_split_name() { # $1 becomes the manifest that joins the splits $2: no other split may be called so
    [[ $2 == "$1" || ,$train_splits,$dev_splits,$test_splits, != *,$1,* ]] ||
        status=2 fail "expected no split named $1 beside others, found one; rename its folder"
}

set_up() { # the environment, with the extras $@ and those of the options
    local extras=("$@")
    [[ -z ${phones-} ]] || extras+=(synthetic)
    [[ -z ${lm_text-} || $lm_unit != words ]] || extras+=(lm)
    "$repository/tools/setup.sh" "${extras[@]}"
}

run_stages() { # from $data to a word error rate in $exp
    manifests=$exp.data units=$exp.data
    [[ -z $phones ]] || units=$manifests/phones
    run_stage 1 corpus get_corpus
    run_stage 2 manifests make_manifests
    run_stage 3 tokenizer "$asr" tokenize --manifest "$units/train.jsonl" --vocab-size "$vocab_size" \
        --type "$token_type" --out "$units/tokenizer"
    run_stage 4 training train_recogniser
    if [[ -z $phones ]]; then
        run_stage 5 decoding decode_splits "$exp/decoded"
        run_stage 6 scoring score_splits "$exp/decoded"
    fi
    [[ -n $lm_text ]] || return 0
    weights=$exp/decoded/lm/weights.json
    if [[ $lm_unit == words ]]; then
        lm=$manifests/words.arpa.gz lm_options=(--type word-ngram)
        search=(--lm "$lm" ${phones:+--lexicon "$units/lexicon.txt"})
    else
        lm=$manifests/lm lm_options=(--type ngram --tokenizer "$units/tokenizer")
        search=(--lm "$lm" --beam-size 16)
    fi
    lm_options+=(--order "$lm_order" --text "$lm_text" --text "$manifests/train.jsonl" --out "$lm")
    run_stage 7 "language model" make_language_model
    run_stage 8 "decoding and scoring with the language model" use_language_model
}

run_stage() { # number $1, named $2: the command of the further arguments, if it is asked for
    ((stage <= $1 && $1 <= stop_stage)) || return 0
    echo "== stage $1: $2" >&2
    "${@:3}"
}

make_manifests() {
    "$asr" prepare "$prepare" --root "$data" --splits "$train_splits,$dev_splits,$test_splits" "${download[@]}" \
        --out "$manifests"
    join_splits "$train_splits" train
    join_splits "$dev_splits" validation
    [[ -n $phones ]] || return 0
    local name
    for name in train validation; do
        "$asr" pronounce "$manifests/$name.jsonl" --voice "$phones" --out "$units/$name.jsonl"
    done
}

join_splits() { # the manifests of the splits $1 as one, named $2
    [[ $1 != "$2" ]] || return 0
    local parts
    IFS=, read -ra parts <<<"$1"
    parts=("${parts[@]/#/$manifests/}")
    "$asr" prepare join "${parts[@]/%/.jsonl}" --out "$manifests/$2.jsonl"
}

train_recogniser() {
    local resume=() overrides=()
    [[ ! -e $exp ]] || resume=(--resume)
    local override
    for override in "${rest[@]}"; do overrides+=(--set "$override"); done
    "$asr" train "$config" --out "$exp" "${resume[@]}" --set "data.train=$units/train.jsonl" \
        --set "data.validation=$units/validation.jsonl" --set "data.tokenizer=$units/tokenizer" "${overrides[@]}"
}

decode() { # manifest $1 into the hypotheses $2; further arguments are the decoder's
    "$asr" decode "$exp" "$1" --out "$2" --device "$device" "${@:3}"
}

decode_splits() { # every test split into the folder $1; further arguments are the decoder's
    local split
    for split in ${test_splits//,/ }; do decode "$manifests/$split.jsonl" "$1/$split.jsonl" "${@:2}"; done
}

score() { # hypotheses $1.jsonl against the manifest $2: $1.score.txt, .json and .html; further arguments are the command's
    "$asr" score --ref "$2" --hyp "$1.jsonl" "${@:3}" --json "$1.score.json" --html "$1.score.html" >"$1.score.txt"
}

score_splits() { # every test split in the folder $1, against the folder $2 if there is one
    local split
    for split in ${test_splits//,/ }; do
        echo "$split${1#"$exp/decoded"}"
        score "$1/$split" "$manifests/$split.jsonl" ${2:+--against "$2/$split.jsonl"}
        head -n 3 "$1/$split.score.txt"
        echo "report: $1/$split.score.txt, .json and .html"
    done
}

# tune_decoder MANIFEST HYPOTHESES WEIGHTS [option of the decoder ...]: the weights with the fewest errors.
# n-best lists are short of what other weights would find: the second round searches with those of the first.
tune_decoder() {
    rm -f "$3"
    decode "$1" "$2" "${@:4}"
    tune_weights "$1" "$2" "$3"
    decode "$1" "$2" "${@:4}" --weights "$3"
    tune_weights "$1" "$2" "$3"
}

tune_weights() { # of hypotheses $2 of manifest $1 into $3, which ends in .json; what is said of them beside it, in .txt
    "$asr" lm tune "$2" --ref "$1" --json "$3" | tee "${3%.json}.txt" >&2
}

make_language_model() {
    rm -f "$weights" # they belong to the former model
    "$asr" lm train "${lm_options[@]}" --reuse
    [[ -z $phones ]] || "$asr" pronounce "$lm" --voice "$phones" --tokenizer "$units/tokenizer" \
        --out "$units/lexicon.txt"
    tune_decoder "$manifests/validation.jsonl" "$exp/decoded/lm/validation.jsonl" "$weights" "${search[@]}" --nbest 16
}

use_language_model() {
    "$asr" lm train "${lm_options[@]}" --check >&2 ||
        fail "expected the language model of stage 7, found what is said above; run --stage 7"
    [[ -f $weights ]] || fail "expected tuned weights at $weights, found no file; run --stage 7"
    decode_splits "$exp/decoded/lm" "${search[@]}" --weights "$weights"
    local against=$exp/decoded
    [[ -z $phones ]] || against=""
    score_splits "$exp/decoded/lm" "$against"
}
