"""Word times and confidence from the tokens of a decoder or an alignment."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median

from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import LM_SCORE, Alternative, Hypothesis, Word
from asr.transcripts.tokens import Decoded, SpelledWord, Token, TokenSequence


def to_hypothesis(
    decoded: Decoded,
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    frame_offset_seconds: float,
    duration_seconds: float,
) -> Hypothesis:
    """Turn what a decoder gives into a transcript.

    Args:
        decoded: Of one item.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        frame_offset_seconds: Start of the time that the first frame stands for.
        duration_seconds: Length of the item's audio; no word ends later.

    Returns:
        The transcript, its words as `find_words` has them.
    """
    return Hypothesis.of_words(
        find_words(
            _words(decoded.best, tokenizer),
            tokenizer,
            frame_seconds=frame_seconds,
            frame_offset_seconds=frame_offset_seconds,
            duration_seconds=duration_seconds,
        ),
        score=decoded.best.score,
        duration_seconds=duration_seconds,
        nbest=tuple(
            Alternative(
                text=" ".join(word.text for word in _words(sequence, tokenizer)),
                score=sequence.score,
                acoustic_score=sequence.acoustic_score,
                lm_scores={LM_SCORE: sequence.lm_score},
                tokens=len(sequence.tokens) if sequence.words is None else None,
                blank_penalty_score=sequence.blank_penalty_score,
            )
            for sequence in decoded.nbest
        ),
    )


def group_words(tokens: Sequence[Token], tokenizer: Tokenizer) -> Iterator[SpelledWord]:
    """Group tokens into words; a group without text makes none."""
    for text, span in spell_words([token.label for token in tokens], tokenizer):
        yield SpelledWord(text=text, tokens=tuple(tokens[span]))


def find_words(
    words: Iterable[SpelledWord],
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    frame_offset_seconds: float,
    duration_seconds: float,
) -> tuple[Word, ...]:
    """Find when each word was spoken.

    CTC says where a token is recognised, not how long it lasts: a token may be one frame, anywhere
    in its sounds, and blanks follow. The rule:

    1. A word lasts at least from the first frame of its first token to the last frame of its last
       token. A first token that is the word mark alone has no sound; the word then begins in the
       middle of the mark's frames.
    2. The pace of a recording is the median over its words of the time to the next word's start,
       per letter. A word lacks what its letters take at this pace beyond the length of rule 1. A
       recording of one word has no pace, and nothing is lacking.
    3. The gap between two words goes to them in proportion to what they lack, up to that; the same
       holds for the gaps at the edges of the audio. From both sides together a word gets no more
       than it lacks. What is left is a pause.

    The confidence of a word is the mean posterior of its tokens.

    Args:
        words: The words of one item, in order.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        frame_offset_seconds: Start of the time that the first frame stands for.
        duration_seconds: Length of the audio; no word ends later.

    Returns:
        The words; times never decrease and do not overlap.
    """
    texts, starts, ends, confidences = [], [], [], []
    for word in words:
        group = word.tokens
        first_frame: float = group[0].start_frame
        if not tokenizer.decode([group[0].label]):
            first_frame = (group[0].start_frame + group[0].end_frame) / 2
        texts.append(word.text)
        start, end = (
            min(frame_offset_seconds + frame * frame_seconds, duration_seconds)
            for frame in (first_frame, group[-1].end_frame)
        )
        starts.append(start)
        ends.append(end)
        confidences.append(sum(token.posterior for token in group) / len(group))
    spans = _fill_gaps(starts, ends, [len(text) for text in texts], duration_seconds)
    return tuple(
        Word(word=text, start_seconds=start, end_seconds=end, confidence=confidence)
        for text, (start, end), confidence in zip(texts, spans, confidences, strict=True)
    )


def _words(sequence: TokenSequence, tokenizer: Tokenizer) -> Iterable[SpelledWord]:
    if sequence.words is None:
        return group_words(sequence.tokens, tokenizer)
    return sequence.words


def spell_words(labels: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[str, slice]]:
    """The text of each word, without words of no text, and which of the labels it is."""
    starts = [
        index for index, label in enumerate(labels) if index == 0 or tokenizer.starts_word(label)
    ]
    for start, end in pairwise([*starts, len(labels)]):
        text = "".join(tokenizer.decode(labels[start:end]).split())
        if text:
            yield text, slice(start, end)


def _fill_gaps(
    starts: Sequence[float], ends: Sequence[float], letters: Sequence[int], duration_seconds: float
) -> list[tuple[float, float]]:
    """Rules 2 and 3 of `find_words`: the start and end of each word."""
    if not starts:
        return []
    intervals = [later - start for start, later in pairwise(starts)]
    paces = [interval / count for interval, count in zip(intervals, letters, strict=False)]
    pace = median(paces) if paces else 0.0
    lacks = [
        max(count * pace - (end - start), 0.0)
        for start, end, count in zip(starts, ends, letters, strict=True)
    ]
    gaps = [
        start - end for end, start in zip([0.0, *ends], [*starts, duration_seconds], strict=True)
    ]
    shares = [
        min(gap / (before + after), 1.0) if before + after > 0 else 0.0
        for gap, (before, after) in zip(gaps, pairwise([0.0, *lacks, 0.0]), strict=True)
    ]
    spans: list[tuple[float, float]] = []
    previous_end = 0.0
    for start, end, lack, (left, right) in zip(starts, ends, lacks, pairwise(shares), strict=True):
        given = lack / max(left + right, 1.0)
        # Sums of floats may miss their bounds by a rounding.
        span = (
            max(start - given * left, previous_end),
            min(end + given * right, duration_seconds),
        )
        spans.append(span)
        previous_end = span[1]
    return spans
