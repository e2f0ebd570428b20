"""Subtitles: which words are shown together, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from asr.transcripts.formats.times import TimedText, last_millisecond, never_empty, timed_words
from asr.transcripts.hypothesis import Hypothesis

# What television and streaming services ask of subtitles.
_LINE_CHARACTERS = 42
_LONGEST_MILLISECONDS = 7000
_SHORTEST_MILLISECONDS = 1000
# A pause that ends a cue, and one at which a cue that is too long is cut first.
_LONG_PAUSE_MILLISECONDS = 1000
_PAUSE_MILLISECONDS = 200


@dataclass(frozen=True, kw_only=True)
class Cue:
    """What is shown at a time.

    Args:
        start_milliseconds: When it appears.
        end_milliseconds: When it goes.
        lines: One line or two.
    """

    start_milliseconds: int
    end_milliseconds: int
    lines: tuple[str, ...]


def cues(hypothesis: Hypothesis) -> list[Cue]:
    """Cut a transcript into cues of at most 2 lines of 42 characters and 7 seconds.

    A cue ends at every pause of a second. What is still too long is cut at its longest pause or,
    where its words follow each other closely, in its middle. A cue is shown for at least a second,
    but never beyond the start of the next one or the end of the audio. A word that is longer than a
    line goes on in the next one.

    Returns:
        The cues in order, without overlap.

    Raises:
        FormatError: There are more words than milliseconds of audio.
    """
    last = last_millisecond(hypothesis)
    parts = [part for word in timed_words(hypothesis) for part in _line_parts(word)]
    groups = _groups(never_empty(parts, last_milliseconds=last))
    starts = [group[0].start_milliseconds for group in groups]
    made = []
    for group, start, limit in zip(groups, starts, [*starts, last][1:], strict=True):
        end = max(group[-1].end_milliseconds, start + _SHORTEST_MILLISECONDS)
        lines = _lines(group)
        assert lines is not None
        made.append(
            Cue(
                start_milliseconds=start,
                end_milliseconds=min(end, start + _LONGEST_MILLISECONDS, limit),
                lines=lines,
            )
        )
    return made


def _line_parts(word: TimedText) -> list[TimedText]:
    """A word in parts that fit a line, its time divided by letters."""
    length = word.end_milliseconds - word.start_milliseconds
    bounds = [*range(0, len(word.text), _LINE_CHARACTERS), len(word.text)]
    return [
        TimedText(
            text=word.text[first:stop],
            start_milliseconds=word.start_milliseconds + length * first // len(word.text),
            end_milliseconds=word.start_milliseconds + length * stop // len(word.text),
        )
        for first, stop in pairwise(bounds)
    ]


def _groups(words: list[TimedText]) -> list[list[TimedText]]:
    """The words of each cue."""
    groups = []
    pending = [words] if words else []
    while pending:
        group = pending.pop()
        cut = _cut(group)
        if cut is None:
            groups.append(group)
        else:
            pending += [group[cut:], group[:cut]]
    return groups


def _cut(words: Sequence[TimedText]) -> int | None:
    """Where to cut: the number of words before it; None where they make one cue."""
    pauses = [later.start_milliseconds - word.end_milliseconds for word, later in pairwise(words)]
    longest = max(pauses, default=0)
    length = words[-1].end_milliseconds - words[0].start_milliseconds
    if not pauses or (
        longest < _LONG_PAUSE_MILLISECONDS
        and length <= _LONGEST_MILLISECONDS
        and _lines(words) is not None
    ):
        return None
    if longest >= _LONG_PAUSE_MILLISECONDS:
        return pauses.index(longest) + 1
    characters = list(accumulate(len(word.text) for word in words))

    def worth(cut: int) -> tuple[bool, int, int]:
        before = words[cut].start_milliseconds - words[0].start_milliseconds
        after = words[-1].end_milliseconds - words[cut].start_milliseconds
        pause = pauses[cut - 1]
        return (
            min(before, after) >= _SHORTEST_MILLISECONDS,
            pause if pause >= _PAUSE_MILLISECONDS else 0,
            -abs(characters[-1] - 2 * characters[cut - 1]),
        )

    return max(range(1, len(words)), key=worth)


def _lines(words: Sequence[TimedText]) -> tuple[str, ...] | None:
    """The words in one line or two of similar length; None where they do not fit."""
    text = " ".join(word.text for word in words)
    if len(text) <= _LINE_CHARACTERS:
        return (text,)
    breaks = [
        place
        for place, character in enumerate(text[: _LINE_CHARACTERS + 1])
        if character == " " and len(text) - place - 1 <= _LINE_CHARACTERS
    ]
    if not breaks:
        return None
    place = min(breaks, key=lambda place: abs(len(text) - 1 - 2 * place))
    return (text[:place], text[place + 1 :])
