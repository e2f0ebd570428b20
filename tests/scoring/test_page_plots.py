from pathlib import Path

import pytest

from asr.data.manifest import Utterance
from asr.scoring.counts import ErrorCounts
from asr.scoring.intervals import rate_interval
from asr.scoring.page_plots import Plots, make_plots


def utterance(index: int, seconds: float, speaker: str | None) -> Utterance:
    return Utterance(
        id=str(index), audio_filepath=Path("/a"), duration_seconds=seconds, speaker=speaker
    )


def plots(
    seconds: list[float],
    *,
    speakers: list[str | None] | None = None,
    words: list[int] | None = None,
    errors: list[list[int]] | None = None,
) -> Plots:
    names = speakers or ["ann"] * len(seconds)
    references = [
        utterance(index, length, name)
        for index, (length, name) in enumerate(zip(seconds, names, strict=True))
    ]
    zeros = [0] * len(seconds)
    return make_plots(references, words or [10] * len(seconds), errors or [zeros])


def test_speakers_have_pooled_rates_of_each_system_the_first_decides_the_order() -> None:
    found = plots(
        [1.0] * 4,
        speakers=["ann", "bob", "ann", "cay"],
        words=[10, 5, 30, 0],
        errors=[[1, 2, 3, 1], [4, 0, 4, 0]],
    ).speakers
    table = [(group.name, group.utterances, group.words) for group in found]
    # Cay says nothing and is given a word: no rate, and first.
    assert table == [("cay", 1, 0), ("bob", 1, 5), ("ann", 2, 40)]
    rates = [[rate.rate for rate in group.rates] for group in found]
    assert rates == [[None, None], [0.4, 0.0], [0.1, 0.2]]
    assert [rate.errors for rate in found[2].rates] == [4, 8]


def test_intervals_are_those_of_the_group_by_utterance() -> None:
    words, errors = [10, 20, 5, 8], [1, 0, 4, 2]
    rate = plots([1.0] * 4, words=words, errors=[errors]).speakers[0].rates[0]
    expected = rate_interval(
        [
            ErrorCounts(substitutions=one, deletions=0, insertions=0, reference_length=length)
            for one, length in zip(errors, words, strict=True)
        ]
    )
    assert expected.low is not None
    assert (rate.low, rate.high) == (expected.low, expected.high)


def test_a_group_of_one_has_no_interval() -> None:
    rate = plots([1.0], errors=[[3]]).speakers[0].rates[0]
    assert (rate.rate, rate.low, rate.high) == (0.3, None, None)


def test_one_unknown_speaker_leaves_out_the_speakers() -> None:
    assert plots([1.0, 2.0], speakers=["ann", None]).speakers == ()


@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        ([0.2, 1.0, 2.9], ["0\u20131 s", "1\u20132 s", "2\u20133 s"]),
        ([3.0, 23.9], [f"{start}\u2013{start + 5} s" for start in range(0, 25, 5)]),
        ([9.99], ["9\u201310 s"]),
        ([0.0, 3600.0], ["0\u2013500 s", "500\u20131000 s"]),
    ],
)
def test_lengths_are_in_ranges_of_round_width(seconds: list[float], names: list[str]) -> None:
    found = [group.name for group in plots(seconds).lengths]
    assert found[: len(names)] == names
    assert len(found) <= 10


def test_each_utterance_is_in_its_range_and_an_empty_range_has_no_rate() -> None:
    found = plots([1.0, 3.5, 3.0, 1.99], words=[10, 4, 6, 10], errors=[[2, 3, 0, 0]]).lengths
    assert [group.name for group in found] == ["1\u20132 s", "2\u20133 s", "3\u20134 s"]
    assert [group.utterances for group in found] == [2, 0, 2]
    assert [group.words for group in found] == [20, 0, 10]
    assert [group.rates[0].rate for group in found] == [0.1, None, 0.3]


def test_bars_count_utterances_by_their_own_rate() -> None:
    words = [30, 30, 30, 10, 10, 10, 3, 0]
    first = [0, 3, 4, 10, 9, 11, 9, 2]
    found = plots([1.0] * 8, words=words, errors=[first, [0] * 8]).rates
    counts = {bar.name: bar.counts for bar in found}
    # 0; 10 % exactly; 13 %; 100 %; 90 %; 110 %; 300 %; words where none were said.
    assert counts["0"] == (1, 8)
    assert counts["0\u201310"] == (1, 0)
    assert counts["10\u201320"] == (1, 0)
    assert counts["80\u201390"] == (1, 0)
    assert counts["90\u2013100"] == (1, 0)
    assert counts["> 100"] == (2, 0)
    assert counts["no words said"] == (1, 0)
    assert sum(one for one, _ in counts.values()) == 8
    assert "no words said" not in {bar.name for bar in plots([1.0]).rates}
