"""Options of `asr decode` for a word-level language model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from asr.decoding.lexicon import LexiconDecoder
    from asr.tokens.tokenizer import Tokenizer

LanguageModel: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--lm",
        help="Word-level n-gram language model, an ARPA file (.arpa, .arpa.gz) or kenlm's binary; "
        "only its words are found.",
    ),
]
Lexicon: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="Words to find instead of all of the language model's: one a line, after it "
        "optionally its spelling in token pieces.",
    ),
]
LmWeight: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--lm-weight",
        min=0.0,
        help="What the language model's log-probability is multiplied by.",
        show_default="0.5",
    ),
]
WordScore: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--word-score",
        help="Added to the log-probability for each word.",
        show_default="0",
    ),
]


def check_usage(
    lm: Path | None, *, lexicon: Path | None, lm_weight: float | None, word_score: float | None
) -> None:
    """Refuse settings of a language model without one.

    Raises:
        typer.BadParameter: There is such a setting.
    """
    given = {"--lexicon": lexicon, "--lm-weight": lm_weight, "--word-score": word_score}
    for name, value in given.items():
        if lm is None and value is not None:
            raise typer.BadParameter("needs --lm", param_hint=name)


def load_decoder(
    lm: Path,
    tokenizer: "Tokenizer",
    *,
    lexicon: Path | None,
    lm_weight: float | None,
    word_score: float | None,
) -> "LexiconDecoder":
    """Make the decoder; settings that are not given have their defaults.

    Raises:
        FileNotFoundError: A file is missing, or the extra `lm` is not installed.
        ValueError: A file is damaged, or no word is left.
    """
    from asr.decoding.lexicon import LexiconConfig, LexiconDecoder
    from asr.schema import parse

    given = {"lm_weight": lm_weight, "word_score": word_score}
    settings = {name: value for name, value in given.items() if value is not None}
    config = parse(LexiconConfig, settings, where="")
    return LexiconDecoder.load(lm, tokenizer, lexicon=lexicon, config=config)
