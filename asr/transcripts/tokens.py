"""Token sequences: what a decoder finds in the frames of one item."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Token:
    """One label of a transcript and the frames that carry it.

    Args:
        label: In 1 .. N.
        start_frame: Its first frame.
        end_frame: The frame after its last.
        posterior: The highest posterior within its frames, in 0 .. 1.
    """

    label: int
    start_frame: int
    end_frame: int
    posterior: float


@dataclass(frozen=True, kw_only=True)
class SpelledWord:
    """A word and the tokens that spell it.

    Args:
        text: The word.
        tokens: One or more.
    """

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """One transcript as labels.

    Args:
        tokens: In order.
        score: What the search ranked the transcript by, a natural logarithm: `acoustic_score`,
            `blank_penalty_score`, and the weighted language model and bonus for length.
        acoustic_score: The CTC model's log-probability of the transcript.
        lm_score: The language model's log-probability, without its weight; 0 without one.
        blank_penalty_score: What a blank penalty adds to `acoustic_score` in the search, a natural
            logarithm; 0 without one.
        words: The same tokens as words, from a decoder that finds words; None where the tokenizer
            says which tokens make a word.
    """

    tokens: tuple[Token, ...]
    score: float
    acoustic_score: float
    lm_score: float
    blank_penalty_score: float = 0.0
    words: tuple[SpelledWord, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder makes of one item.

    Args:
        best: The transcript.
        nbest: The best transcripts, `best` the first of them; empty where one alone is asked for.
    """

    best: TokenSequence
    nbest: tuple[TokenSequence, ...] = ()
