"""Word times in whole milliseconds, as most formats write them."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.hypothesis_file import FormatError


@dataclass(frozen=True, kw_only=True)
class TimedText:
    """A word, or a part of one, with its time.

    Args:
        text: The letters.
        start_milliseconds: Start within the audio.
        end_milliseconds: End within the audio.
    """

    text: str
    start_milliseconds: int
    end_milliseconds: int


def last_millisecond(hypothesis: Hypothesis) -> int:
    """The last whole millisecond within the audio."""
    return int(hypothesis.duration_seconds * 1000)


def timed_words(hypothesis: Hypothesis) -> list[TimedText]:
    """The words; rounding keeps their order and keeps them within the audio."""
    last = last_millisecond(hypothesis)
    return [
        TimedText(
            text=word.word,
            start_milliseconds=min(round(word.start_seconds * 1000), last),
            end_milliseconds=min(round(word.end_seconds * 1000), last),
        )
        for word in hypothesis.words
    ]


def never_empty(texts: Sequence[TimedText], *, last_milliseconds: int) -> list[TimedText]:
    """Make each at least a millisecond long, by moving what is in the way.

    Args:
        texts: In order, without overlap.
        last_milliseconds: No end is later.

    Returns:
        The same texts in order, without overlap.

    Raises:
        FormatError: There are more texts than milliseconds.
    """
    if len(texts) > last_milliseconds:
        raise FormatError(
            f"expected audio of at least a millisecond a word, found {len(texts)} words in "
            f"{last_milliseconds} ms; write another format"
        )
    spans = []
    earliest = 0
    for text in texts:
        start = max(text.start_milliseconds, earliest)
        earliest = max(text.end_milliseconds, start + 1)
        spans.append((start, earliest))
    latest = last_milliseconds
    for index in reversed(range(len(spans))):
        end = min(spans[index][1], latest)
        latest = min(spans[index][0], end - 1)
        spans[index] = (latest, end)
    return [
        TimedText(text=text.text, start_milliseconds=start, end_milliseconds=end)
        for text, (start, end) in zip(texts, spans, strict=True)
    ]


def clock(milliseconds: int, *, point: str) -> str:
    """A time as subtitles write it.

    Args:
        milliseconds: The time.
        point: What stands before the milliseconds.

    Returns:
        Hours, minutes, seconds and milliseconds, as in 01:02:03.004.
    """
    seconds, rest = divmod(milliseconds, 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}{point}{rest:03}"
