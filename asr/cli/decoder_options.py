"""The options of `asr decode` that say how the text is found."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from asr.decoders import DEFAULTS, DecoderConfig, DecoderName, DecoderOptionError

# What a file of weights may hold.
_TUNED = ("lm_weight", "length_bonus", "word_score", "blank_penalty")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(name: str) -> str:
    """The defaults of an option, that with a word-level language model last."""
    values = [defaults[name] for defaults in DEFAULTS.values() if name in defaults]
    texts = [f"{value:g}" for value in dict.fromkeys(values)]
    return texts[0] if len(texts) == 1 else f"{texts[0]}; {texts[1]} with a --lm of words"


DecoderOption: TypeAlias = Annotated[
    DecoderName | None,
    typer.Option(
        "--decoder",
        help="How the text is found. greedy: the best label of every frame; beam: the text of "
        "highest probability, summed over its alignments.",
        show_default="greedy; beam with --lm",
    ),
]
LanguageModel: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--lm",
        help="Language model. A folder that `asr lm train` wrote scores token pieces. A file, "
        "ARPA (.arpa, .arpa.gz) or kenlm's binary, scores words, and only its words are found.",
    ),
]
Lexicon: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="Words to find instead of all of the word-level language model's: one a line, after "
        "it optionally its spelling in token pieces.",
    ),
]
LmWeight: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--lm-weight",
        min=0.0,
        help="What the language model's log-probability is multiplied by; tune it on dev with "
        "`asr lm tune`.",
        show_default=_shown("lm_weight"),
    ),
]
LengthBonus: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--length-bonus",
        help="Added to the log-probability for each token piece, with a language model of these; "
        "tune it on dev too.",
        show_default=_shown("length_bonus"),
    ),
]
WordScore: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--word-score",
        help="Added to the log-probability for each word, with a language model of these; tune it "
        "on dev too.",
        show_default=_shown("word_score"),
    ),
]
BlankPenalty: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--blank-penalty",
        help="Taken from the blank's log-probability in every frame; try 0 to 3 on dev, above all "
        "with a recogniser trained with CR-CTC, and tune the other weights anew.",
        show_default=_shown("blank_penalty"),
    ),
]
BeamSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--beam-size",
        min=1,
        help="Hypotheses that beam search keeps after each frame.",
        show_default=_shown("beam_size"),
    ),
]
Nbest: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--nbest",
        min=1,
        help="Best transcripts of each input that beam search gives, in the field `nbest` (with "
        "--format jsonl); at most --beam-size.",
        show_default=_shown("nbest"),
    ),
]


Weights: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        help="File that `asr lm tune --json` wrote: its weights are taken where the options do not "
        "give others.",
    ),
]


def decoder_config(*, weights: Path | None, **options: Any) -> DecoderConfig:  # noqa: ANN401
    """The options of decoding, checked.

    Args:
        weights: A file of weights; None where there is none.
        options: Of `DecoderConfig`, None where one is not given; they count before the file.

    Raises:
        typer.BadParameter: Options are wrong or do not fit together.
        FileNotFoundError: There is no such file of weights, or nothing at `lm`.
        ValueError: The file of weights is none.
    """
    tuned = {} if weights is None else read_weights(weights)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return DecoderConfig(**{**tuned, **given})
    except DecoderOptionError as error:
        raise typer.BadParameter(error.fault(spell=_flag), param_hint=_flag(error.option)) from None


def read_weights_record(path: Path) -> dict[str, Any]:
    """The JSON object that `asr lm tune --json` wrote, with a table of options.

    Args:
        path: The file.

    Returns:
        The object; what stands in its entries is not checked, apart from `options` being a table.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such object.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a file of weights at {path}, found none; write it with `asr lm tune --json`"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: expected JSON, found: {error}; give a file that `asr lm tune --json` wrote"
        ) from None
    if not isinstance(record, dict) or not isinstance(record.get("options"), dict):
        raise ValueError(
            f"{path}: expected a JSON object with options, found none; give a file that "
            "`asr lm tune --json` wrote"
        )
    return record


def read_weights(path: Path) -> dict[str, float]:
    """Read the weights that `asr lm tune --json` wrote.

    Args:
        path: The file.

    Returns:
        Values by names of options of `DecoderConfig`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, or holds what decoding has no option for.
    """
    options = read_weights_record(path)["options"]
    names = {_flag(name): name for name in _TUNED}
    for flag, value in options.items():
        if flag not in names:
            raise ValueError(
                f"{path}: expected options of asr decode ({', '.join(names)}), found {flag!r}; "
                "weights of further scores are for `asr rescore`"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{path}: expected {flag} to be a number, found {value!r}; correct it")
    return {names[flag]: value for flag, value in options.items()}
