"""Hypotheses: transcripts with scores, word times and alternatives."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Word:
    """One recognised word.

    Args:
        word: The word.
        start_seconds: Start within the audio.
        end_seconds: End within the audio.
        confidence: Probability in 0 .. 1.
    """

    word: str
    start_seconds: float
    end_seconds: float
    confidence: float


LM_SCORE = "lm_score"
"""Key of the score by the language model of the search, named `lm`."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One of the best transcripts of an item, with the parts of its score to weigh anew.

    Args:
        text: The words, separated by single blanks.
        score: What it is ranked by (natural logarithm).
        acoustic_score: The CTC model's log-probability.
        blank_penalty_score: What the search's blank penalty adds to it for ranking, a natural
            logarithm; 0 without one.
        lm_scores: Log-probabilities by language models and by other recognisers, without their
            weights, by names that end in `score`. `lm_score` is that of the search, 0 without a
            language model.
        tokens: Number of token pieces; None where the search finds words.
    """

    text: str
    score: float
    acoustic_score: float
    lm_scores: Mapping[str, float]
    tokens: int | None = None
    blank_penalty_score: float = 0.0

    @property
    def length(self) -> int:
        """How often the search gives its bonus: for each token piece, or for each word."""
        return len(self.text.split()) if self.tokens is None else self.tokens


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One transcript.

    Args:
        text: The words, separated by single blanks.
        score: What it was ranked by, a natural logarithm: of greedy decoding and alignment the
            log-probability of the path, of a search with its language model, bonus for length and
            blank penalty.
        words: The words with times and confidence.
        duration_seconds: Length of the audio that was decoded.
        nbest: The best transcripts, this one first; empty unless several were asked for. Texts may
            be equal, of different token pieces.
    """

    text: str
    score: float
    words: tuple[Word, ...]
    duration_seconds: float
    nbest: tuple[Alternative, ...] = ()

    @staticmethod
    def of_words(
        words: tuple[Word, ...],
        *,
        score: float,
        duration_seconds: float,
        nbest: tuple[Alternative, ...] = (),
    ) -> "Hypothesis":
        """The transcript whose text is these words."""
        return Hypothesis(
            text=" ".join(word.word for word in words),
            score=score,
            words=words,
            duration_seconds=duration_seconds,
            nbest=nbest,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one input.

    Args:
        index: Place among the inputs.
        hypothesis: The transcript; None where the input cannot be used.
        error: Why there is no hypothesis; None where there is one.
    """

    index: int
    hypothesis: Hypothesis | None = None
    error: OSError | ValueError | None = None
