"""The numbers behind the plots of a page: rates of groups of utterances, and their spread."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr.data.manifest import Utterance
from asr.scoring.intervals import group_totals, interval_of

_MOST_LENGTHS = 10


@dataclass(frozen=True, kw_only=True)
class GroupRate:
    """Word errors of one system in a group of utterances.

    Args:
        errors: Substitutions, deletions and insertions.
        rate: Errors divided by words; None where the group has none to divide by.
        low: Lower end of the 95 % interval by utterance; None where there is no interval.
        high: Upper end of the interval.
    """

    errors: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Utterances of one speaker, or of like length.

    Args:
        name: What they have in common.
        utterances: Their number.
        words: Words of their references.
        rates: Their word errors with each system.
    """

    name: str
    utterances: int
    words: int
    rates: tuple[GroupRate, ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Utterances of like word error rate.

    Args:
        name: The range of the rate, in percent.
        counts: How many utterances each system has there.
    """

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plots:
    """What is drawn.

    Args:
        speakers: Highest word error rate of the first system first; empty if any is unknown.
        lengths: By length of the audio, all as wide, those without utterances too.
        rates: By word error rate of the utterance.
    """

    speakers: tuple[Group, ...]
    lengths: tuple[Group, ...]
    rates: tuple[Bar, ...]


def make_plots(
    references: Sequence[Utterance], words: Sequence[int], errors: Sequence[Sequence[int]]
) -> Plots:
    """Group the utterances.

    Args:
        references: The utterances.
        words: Words of each reference.
        errors: Word errors of each utterance, of each system.

    Returns:
        The groups of each plot.
    """
    speakers: dict[str | None, list[int]] = {}
    for index, utterance in enumerate(references):
        speakers.setdefault(utterance.speaker, []).append(index)
    groups = [
        _group(name, members, words, errors)
        for name, members in speakers.items()
        if name is not None
    ]
    return Plots(
        speakers=()
        if None in speakers
        else tuple(
            sorted(groups, key=lambda group: (-_or_highest(group.rates[0].rate), group.name))
        ),
        lengths=tuple(
            _group(name, members, words, errors)
            for name, members in _by_length([item.duration_seconds for item in references]).items()
        ),
        rates=tuple(_bars(words, errors)),
    )


def _or_highest(rate: float | None) -> float:
    return math.inf if rate is None else rate


def _group(
    name: str, members: Sequence[int], words: Sequence[int], errors: Sequence[Sequence[int]]
) -> Group:
    own_words = [words[index] for index in members]
    return Group(
        name=name,
        utterances=len(members),
        words=sum(own_words),
        rates=tuple(_rate([column[index] for index in members], own_words) for column in errors),
    )


def _rate(errors: Sequence[int], words: Sequence[int]) -> GroupRate:
    names = [str(index) for index in range(len(words))]
    totals = group_totals(errors, names), group_totals(words, names)
    interval = interval_of(*totals, seed=0)
    return GroupRate(
        errors=sum(errors),
        rate=sum(errors) / sum(words) if sum(words) else None,
        low=interval.low,
        high=interval.high,
    )


def _by_length(seconds: Sequence[float]) -> Mapping[str, list[int]]:
    width = _width(min(seconds), max(seconds))
    first, last = math.floor(min(seconds) / width), math.floor(max(seconds) / width)
    bins: list[list[int]] = [[] for _ in range(first, last + 1)]
    for index, value in enumerate(seconds):
        bins[math.floor(value / width) - first].append(index)
    return {
        f"{(first + number) * width}\u2013{(first + number + 1) * width} s": members
        for number, members in enumerate(bins)
    }


def _width(shortest: float, longest: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... seconds that makes few bins of the range."""
    return next(
        width
        for width in _round_numbers()
        if math.floor(longest / width) - math.floor(shortest / width) < _MOST_LENGTHS
    )


def _round_numbers() -> Iterable[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _bars(words: Sequence[int], errors: Sequence[Sequence[int]]) -> Iterable[Bar]:
    columns = [
        [_bar(count, length) for count, length in zip(column, words, strict=True)]
        for column in errors
    ]
    tens = [f"{start}\u2013{start + 10}" for start in range(0, 100, 10)]
    for number, name in enumerate(["0", *tens, "> 100", "no words said"]):
        counts = tuple(column.count(number) for column in columns)
        # References without words are rare: they have a bar only where they are.
        if number < len(tens) + 2 or any(counts):
            yield Bar(name=name, counts=counts)


def _bar(errors: int, words: int) -> int:
    """0 without errors, 1 up to 10 %, 2 up to 20 %, ..., 11 above 100 %, 12 without a rate."""
    if errors == 0:
        return 0
    return min(11, math.ceil(10 * errors / words)) if words else 12
