"""The options of `asr decode` that say how the text is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from asr.ctc import Decoder
    from asr.recognizer import Recognizer

_Kind = Literal["greedy", "beam", "token_lm", "word_lm"]

# The options that each way to decode has, and what they are where they are not given.
_DEFAULTS: dict[_Kind, dict[str, Any]] = {
    "greedy": {},
    "beam": {"beam_size": 8, "nbest": 1, "blank_penalty": 0.0},
    "token_lm": {
        "beam_size": 8,
        "nbest": 1,
        "blank_penalty": 0.0,
        "lm_weight": 0.5,
        "length_bonus": 1.0,
    },
    "word_lm": {
        "beam_size": 100,
        "nbest": 1,
        "blank_penalty": 0.0,
        "lm_weight": 0.5,
        "word_score": 0.0,
        "lexicon": None,
    },
}
_NEEDED = {
    "beam_size": "--decoder beam or --lm",
    "nbest": "--decoder beam or --lm",
    "blank_penalty": "--decoder beam or --lm",
    "lm_weight": "--lm",
    "length_bonus": "--lm with a folder that `asr lm train` wrote",
    "word_score": "--lm with an ARPA file or kenlm's binary",
    "lexicon": "--lm with an ARPA file or kenlm's binary",
}


def _shown(name: str) -> str:
    """The defaults of an option, that with a word-level language model last."""
    values = [defaults[name] for defaults in _DEFAULTS.values() if name in defaults]
    texts = [f"{value:g}" for value in dict.fromkeys(values)]
    return texts[0] if len(texts) == 1 else f"{texts[0]}; {texts[1]} with a --lm of words"


DecoderName: TypeAlias = Annotated[
    Literal["greedy", "beam"] | None,
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


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """What the options say; None where one is not given.

    Raises:
        typer.BadParameter: Options do not fit together.
        FileNotFoundError: There is nothing at `lm`.
    """

    decoder: Literal["greedy", "beam"] | None
    lm: Path | None
    lm_weight: float | None
    length_bonus: float | None
    word_score: float | None
    lexicon: Path | None
    blank_penalty: float | None
    beam_size: int | None
    nbest: int | None

    def __post_init__(self) -> None:
        if self.decoder == "greedy" and self.lm is not None:
            raise typer.BadParameter("needs --decoder beam", param_hint="--lm")
        if self.lm is not None and not self.lm.exists():
            raise FileNotFoundError(
                f"expected a language model at {self.lm}, found nothing; give a folder that "
                "`asr lm train` wrote, an ARPA file or kenlm's binary"
            )
        for name, needed in _NEEDED.items():
            if getattr(self, name) is not None and name not in _DEFAULTS[self._kind]:
                option = f"--{name.replace('_', '-')}"
                raise typer.BadParameter(f"needs {needed}", param_hint=option)
        settings = self._settings()
        if settings and settings["nbest"] > settings["beam_size"]:
            raise typer.BadParameter(
                f"must be at most --beam-size, which is {settings['beam_size']}",
                param_hint="--nbest",
            )

    @property
    def _kind(self) -> _Kind:
        if self.lm is None:
            return self.decoder or "greedy"
        return "token_lm" if self.lm.is_dir() else "word_lm"

    def _settings(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _DEFAULTS[self._kind]}
        given = {name: value for name, value in given.items() if value is not None}
        return _DEFAULTS[self._kind] | given

    def make_decoder(self, recogniser: Recognizer) -> Decoder[Any]:
        """Make the decoder of a recogniser.

        Raises:
            FileNotFoundError: A file is missing, or the extra `lm` is not installed.
            ValueError: A file is damaged, the language model is of another tokenizer, or it has no
                word that the recogniser can spell.
        """
        from asr.ctc import BlankPenalty, GreedyDecoder

        settings = self._settings()
        if self._kind == "greedy":
            return GreedyDecoder()
        penalty = settings.pop("blank_penalty")
        search = self._make_search(recogniser, settings)
        return BlankPenalty(search, penalty) if penalty else search

    def _make_search(self, recogniser: Recognizer, settings: dict[str, Any]) -> Decoder[Any]:
        from asr.ctc import BeamConfig, BeamSearch, LexiconConfig, LexiconDecoder
        from asr.lm.load import load_language_model
        from asr.tokens.tokenizer import check_same_tokenizer

        if self.lm is None:
            return BeamSearch(BeamConfig(**settings))
        if self._kind == "token_lm":
            model = load_language_model(self.lm, device=str(recogniser.acoustic_model.device))
            check_same_tokenizer(language_model=model.tokenizer, recogniser=recogniser.tokenizer)
            return BeamSearch(BeamConfig(**settings), model.scorer())
        lexicon = settings.pop("lexicon")
        config = LexiconConfig(**settings)
        return LexiconDecoder.load(self.lm, recogniser.tokenizer, config=config, lexicon=lexicon)
