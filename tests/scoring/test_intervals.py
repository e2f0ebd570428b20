import itertools
from unittest import mock

import numpy as np
import pytest

from asr.scoring import intervals
from asr.scoring.counts import ErrorCounts
from asr.scoring.intervals import group_totals, interval_of, rate_interval, resampled_rates


def counts(errors: int, length: int) -> ErrorCounts:
    return ErrorCounts(substitutions=errors, deletions=0, insertions=0, reference_length=length)


def test_the_interval_of_three_utterances_equals_all_27_resamples() -> None:
    errors, lengths = [0, 3, 2], [10, 10, 5]
    drawn = list(itertools.product(range(3), repeat=3))
    assert len(drawn) == 27
    rates = [
        sum(errors[unit] for unit in units) / sum(lengths[unit] for unit in units)
        for units in drawn
    ]
    # Of the 27, one is 0.0 and one 0.4: both tails of 2.5 % lie inside these.
    interval = rate_interval([counts(*pair) for pair in zip(errors, lengths, strict=True)])
    assert interval.low == min(rates) == 0.0
    assert interval.high == max(rates) == 0.4
    assert interval.units == 3
    assert interval.reason is None
    found = resampled_rates(np.array(errors), np.array(lengths), seed=3)
    assert len(found) == intervals.RESAMPLES
    # Ten thousand draws: a share of p has a standard deviation of at most 0.005.
    for rate in set(rates):
        share = np.count_nonzero(np.isclose(found, rate)) / len(found)
        assert share == pytest.approx(rates.count(rate) / 27, abs=0.02)


def test_the_ends_are_those_of_the_binomial_for_one_word_utterances() -> None:
    # 400 utterances of one word, 100 of them wrong: resamples are binomial(400, 1/4) / 400, whose
    # standard deviation is 0.02165, so the ends lie 1.96 of it from 0.25.
    interval = rate_interval([counts(int(index < 100), 1) for index in range(400)])
    assert interval.low == pytest.approx(0.25 - 1.96 * 0.02165, abs=0.004)
    assert interval.high == pytest.approx(0.25 + 1.96 * 0.02165, abs=0.004)


def test_speakers_are_drawn_whole() -> None:
    by_speaker = {"a": (9, 30), "b": (2, 40), "c": (5, 20), "d": (0, 10)}
    split = [
        (speaker, counts(*part))
        for speaker, (errors, length) in by_speaker.items()
        for part in ((errors, length - 7), (0, 7))
    ]
    grouped = rate_interval(
        [count for _, count in split], groups=[speaker for speaker, _ in split], seed=5
    )
    assert grouped.units == 4
    assert grouped == rate_interval([counts(*pair) for pair in by_speaker.values()], seed=5)
    assert grouped != rate_interval([count for _, count in split], seed=5)


def test_group_totals_need_no_sorted_groups() -> None:
    assert group_totals([1, 2, 3, 4], ["b", "a", "b", "c"]).tolist() == [2, 4, 4]


def test_the_same_seed_gives_the_same_interval() -> None:
    generator = np.random.default_rng(0)
    scored = [
        counts(int(error), int(length))
        for error, length in zip(
            generator.integers(0, 5, size=50), generator.integers(5, 40, size=50), strict=True
        )
    ]
    assert rate_interval(scored) == rate_interval(scored)
    assert rate_interval(scored) != rate_interval(scored, seed=1)


def test_drawing_in_blocks_covers_every_resample() -> None:
    errors, lengths = np.array([0, 3, 2, 7]), np.array([10, 10, 5, 9])
    with mock.patch.object(intervals, "_BLOCK_ELEMENTS", 4 * 777):
        rates = resampled_rates(errors, lengths, seed=0)
    assert len(rates) == intervals.RESAMPLES
    assert rates.mean() == pytest.approx(12 / 34, abs=0.02)


@pytest.mark.parametrize(
    ("scored", "reason"),
    [
        ([], "fewer than 2"),
        ([counts(1, 10)], "fewer than 2"),
        ([counts(1, 0), counts(2, 0)], "no reference text"),
        ([counts(0, 10), counts(0, 3)], "the same in all"),
        ([counts(1, 10), counts(3, 30)], "the same in all"),
    ],
)
def test_there_is_no_interval_where_resampling_shows_nothing(
    scored: list[ErrorCounts], reason: str
) -> None:
    interval = rate_interval(scored)
    assert (interval.low, interval.high, interval.units) == (None, None, len(scored))
    assert interval.reason is not None
    assert reason in interval.reason


def test_empty_references_count_their_insertions_and_leave_no_rate_undefined() -> None:
    # A resample of the empty reference alone (a quarter of them) has no rate and is left out.
    errors, lengths = np.array([1, 2]), np.array([10, 0])
    rates = resampled_rates(errors, lengths, seed=0)
    assert set(rates.tolist()) == {0.1, 0.3}
    assert len(rates) == pytest.approx(0.75 * intervals.RESAMPLES, rel=0.05)


def test_an_interval_by_utterance_covers_the_truth_95_percent_of_the_time() -> None:
    generator = np.random.default_rng(11)
    trials, utterances, truth = 300, 150, 0.1
    covered = 0
    with mock.patch.object(intervals, "RESAMPLES", 600):
        for trial in range(trials):
            lengths = generator.integers(3, 30, size=utterances)
            # Utterances differ in difficulty, as real ones do.
            difficulty = generator.gamma(2.0, 0.5, size=utterances)
            errors = generator.binomial(lengths, np.minimum(truth * difficulty, 1.0))
            interval = interval_of(errors, lengths, seed=trial)
            assert interval.low is not None
            assert interval.high is not None
            covered += interval.low <= truth <= interval.high
    # 300 trials: a standard deviation of 1.3 %.
    assert covered / trials == pytest.approx(0.95, abs=0.04)


def test_drawing_utterances_of_few_speakers_one_by_one_is_too_narrow() -> None:
    generator = np.random.default_rng(3)
    trials, speakers, each, truth = 150, 40, 10, 0.1
    covered = {"utterance": 0, "speaker": 0}
    labels = [str(speaker) for speaker in range(speakers) for _ in range(each)]
    with mock.patch.object(intervals, "RESAMPLES", 600):
        for trial in range(trials):
            rates = truth * generator.gamma(2.0, 0.5, size=speakers).repeat(each)
            errors = generator.binomial(15, np.minimum(rates, 1.0))
            lengths = np.full(speakers * each, 15)
            for unit, interval in (
                ("utterance", interval_of(errors, lengths, seed=trial)),
                (
                    "speaker",
                    interval_of(
                        group_totals(errors.tolist(), labels),
                        group_totals(lengths.tolist(), labels),
                        seed=trial,
                    ),
                ),
            ):
                assert interval.low is not None
                assert interval.high is not None
                covered[unit] += interval.low <= truth <= interval.high
    assert covered["speaker"] / trials > 0.87
    assert covered["utterance"] / trials < 0.75
