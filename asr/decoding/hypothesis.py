"""What a decoder gives: a transcript with scores and word times."""

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


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One transcript.

    Args:
        text: The words, separated by single blanks.
        score: Log-probability of the path or prefix (natural logarithm).
        words: The words with times and confidence.
        duration_seconds: Length of the audio that was decoded.
    """

    text: str
    score: float
    words: tuple[Word, ...]
    duration_seconds: float

    @staticmethod
    def of_words(words: tuple[Word, ...], *, score: float, duration_seconds: float) -> "Hypothesis":
        """The transcript whose text is these words."""
        return Hypothesis(
            text=" ".join(word.word for word in words),
            score=score,
            words=words,
            duration_seconds=duration_seconds,
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
