"""Tokens to words: text, times and confidence."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from asr.decoding.decoder import Decoded, SpelledWord, Token, TokenSequence
from asr.decoding.hypothesis import Alternative, Hypothesis, Word
from asr.tokens.tokenizer import Tokenizer


def to_hypothesis(
    decoded: Decoded, tokenizer: Tokenizer, *, frame_seconds: float, duration_seconds: float
) -> Hypothesis:
    """Turn what a decoder gives into a transcript.

    Args:
        decoded: Of one item.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        duration_seconds: Length of the item's audio; no word ends later.

    Returns:
        The transcript.
    """

    def words(sequence: TokenSequence) -> tuple[Word, ...]:
        return to_words(
            sequence, tokenizer, frame_seconds=frame_seconds, duration_seconds=duration_seconds
        )

    best = words(decoded.best)
    return Hypothesis(
        text=_text(best),
        score=decoded.best.score,
        words=best,
        duration_seconds=duration_seconds,
        nbest=tuple(
            Alternative(
                text=_text(words(sequence)),
                score=sequence.score,
                acoustic_score=sequence.acoustic_score,
                lm_score=sequence.lm_score,
            )
            for sequence in decoded.nbest
        ),
    )


def to_words(
    sequence: TokenSequence,
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    duration_seconds: float,
) -> tuple[Word, ...]:
    """Give words their times.

    A word lasts from the start of its first token's first frame to the end of its last token's last
    frame. Its confidence is the mean over its tokens of their posteriors.

    Args:
        sequence: Of one item.
        tokenizer: Makes words of the tokens where the decoder has not.
        frame_seconds: Distance between frames.
        duration_seconds: Length of the item's audio; no word ends later.

    Returns:
        The words; tokens without text make none.
    """
    words = _spelled_words(sequence.tokens, tokenizer) if sequence.words is None else sequence.words
    return tuple(
        Word(
            word=word.text,
            start_seconds=min(word.tokens[0].start_frame * frame_seconds, duration_seconds),
            end_seconds=min(word.tokens[-1].end_frame * frame_seconds, duration_seconds),
            confidence=sum(token.posterior for token in word.tokens) / len(word.tokens),
        )
        for word in words
    )


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.word for word in words)


def _spelled_words(tokens: Sequence[Token], tokenizer: Tokenizer) -> Iterator[SpelledWord]:
    starts = [
        index
        for index, token in enumerate(tokens)
        if index == 0 or tokenizer.starts_word(token.label)
    ]
    for start, end in pairwise([*starts, len(tokens)]):
        group = tuple(tokens[start:end])
        text = "".join(tokenizer.decode([token.label for token in group]).split())
        if text:
            yield SpelledWord(text=text, tokens=group)
