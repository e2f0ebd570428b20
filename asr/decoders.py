"""The options of decoding, their defaults, and the decoder that they describe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

# The command line reads the options for its help, which is not to wait for torch: what needs it is
# imported where a decoder is built.
if TYPE_CHECKING:
    import torch

    from asr.ctc import Decoder
    from asr.tokens.tokenizer import Tokenizer

DecoderName: TypeAlias = Literal["greedy", "beam"]
SearchKind: TypeAlias = Literal["greedy", "beam", "token_lm", "word_lm"]

BATCH_SECONDS = 120.0
"""Most audio that is decoded in a batch, padding included, in seconds."""

DEFAULTS: Mapping[SearchKind, Mapping[str, Any]] = {
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
"""The options that each kind of search has, and what they are where they are not given."""

# What each option needs; names of options stand in braces.
_NEEDS = {
    "beam_size": "{decoder} beam or {lm}",
    "nbest": "{decoder} beam or {lm}",
    "blank_penalty": "{decoder} beam or {lm}",
    "lm_weight": "{lm}",
    "length_bonus": "{lm} with a folder that `asr lm train` wrote",
    "word_score": "{lm} with an ARPA file or kenlm's binary",
    "lexicon": "{lm} with an ARPA file or kenlm's binary",
}
# The lowest value of each option that is a number.
_LOWEST: Mapping[str, float] = {
    "beam_size": 1,
    "nbest": 1,
    "lm_weight": 0,
    "blank_penalty": -math.inf,
    "length_bonus": -math.inf,
    "word_score": -math.inf,
}


class DecoderOptionError(ValueError):
    """An option of decoding that is wrong or does not fit the others.

    Args:
        option: Its name, a field of `DecoderConfig`.
        fault: A phrase beginning with a verb, such as "needs {lm}"; names of options stand in
            braces.
    """

    def __init__(self, option: str, fault: str) -> None:
        self.option = option
        self._fault = fault
        super().__init__(
            f"expected options of decoding that fit together, found {option}, which "
            f"{self.fault(spell=str)}; correct it or leave it out"
        )

    def fault(self, *, spell: Callable[[str], str]) -> str:
        """What is wrong with the option; `spell` says how the names of other options are shown."""
        return self._fault.format_map(
            {each.name: spell(each.name) for each in fields(DecoderConfig)}
        )


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """How text is found in log-probabilities; None stands for the value in `DEFAULTS`.

    Args:
        decoder: "greedy", the best label of every frame, or "beam", the text of highest
            probability summed over its alignments; by default greedy, and beam with `lm`.
        lm: Language model: a folder that `asr lm train` wrote, over token pieces; or a file, ARPA
            or kenlm's binary, over words, and then only its words are found.
        lm_weight: What the language model's log-probability is multiplied by; without unit.
        length_bonus: Added to the score for each token piece, a natural logarithm.
        word_score: Added to the score for each word, a natural logarithm.
        lexicon: File of the words to find instead of all that the word-level model has.
        blank_penalty: Taken from the blank's log-probability in every frame while searching, a
            natural logarithm.
        beam_size: Hypotheses kept after each frame.
        nbest: Transcripts given of each recording.

    Raises:
        DecoderOptionError: An option is out of range or does not fit the others.
        FileNotFoundError: There is nothing at `lm`.
    """

    decoder: DecoderName | None = None
    lm: Path | None = None
    lm_weight: float | None = None
    length_bonus: float | None = None
    word_score: float | None = None
    lexicon: Path | None = None
    blank_penalty: float | None = None
    beam_size: int | None = None
    nbest: int | None = None

    def __post_init__(self) -> None:
        if self.decoder is not None and self.decoder not in get_args(DecoderName):
            raise DecoderOptionError(
                "decoder", f"must be one of {sorted(get_args(DecoderName))}, not {self.decoder!r}"
            )
        if self.decoder == "greedy" and self.lm is not None:
            raise DecoderOptionError("lm", "needs {decoder} beam")
        if self.lm is not None and not self.lm.exists():
            raise FileNotFoundError(
                f"expected a language model at {self.lm}, found nothing; give a folder that "
                "`asr lm train` wrote, an ARPA file or kenlm's binary"
            )
        for name, needed in _NEEDS.items():
            if getattr(self, name) is not None and name not in DEFAULTS[self.kind]:
                raise DecoderOptionError(name, f"needs {needed}")
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value < math.inf:
                raise DecoderOptionError(name, f"must be finite and at least {lowest}, not {value}")
        settings = self.settings()
        if settings and settings["nbest"] > settings["beam_size"]:
            raise DecoderOptionError(
                "nbest", f"must be at most {{beam_size}}, which is {settings['beam_size']}"
            )

    @property
    def kind(self) -> SearchKind:
        """The kind of search that the options describe."""
        if self.lm is None:
            return self.decoder or "greedy"
        return "token_lm" if self.lm.is_dir() else "word_lm"

    def settings(self) -> dict[str, Any]:
        """The value of every option that this kind of search has."""
        defaults = DEFAULTS[self.kind]
        given = {name: getattr(self, name) for name in defaults}
        return {**defaults, **{name: value for name, value in given.items() if value is not None}}


def build_decoder(
    config: DecoderConfig, *, tokenizer: Tokenizer, device: torch.device
) -> Decoder[Any]:
    """Build the decoder that the options describe, its language model loaded.

    Args:
        config: The options.
        tokenizer: That of the recogniser.
        device: Where a language model over token pieces runs.

    Returns:
        The decoder.

    Raises:
        FileNotFoundError: A file is missing, or the extra `lm` is not installed.
        ValueError: A file is damaged, the language model is of another tokenizer, or it has no word
            that the recogniser can spell.
    """
    from asr.ctc import BeamConfig, BeamSearch, GreedyDecoder, LexiconConfig, LexiconDecoder
    from asr.lm.load import load_language_model
    from asr.tokens.tokenizer import check_same_tokenizer

    settings = config.settings()
    if config.kind == "greedy":
        return GreedyDecoder()
    if config.lm is None:
        return BeamSearch(BeamConfig(**settings))
    if config.kind == "token_lm":
        model = load_language_model(config.lm, device=str(device))
        check_same_tokenizer(language_model=model.tokenizer, recognizer=tokenizer)
        return BeamSearch(BeamConfig(**settings), model.scorer())
    lexicon = settings.pop("lexicon")
    return LexiconDecoder.load(
        config.lm, tokenizer, config=LexiconConfig(**settings), lexicon=lexicon
    )
