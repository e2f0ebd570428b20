import itertools
import math

import numpy as np
import pytest

from asr.scoring.counts import ErrorCounts
from asr.scoring.significance import compare, compare_all, holm, matched_pairs_p


def counts(errors: int, length: int = 10) -> ErrorCounts:
    return ErrorCounts(substitutions=errors, deletions=0, insertions=0, reference_length=length)


def listed(errors: list[int]) -> list[ErrorCounts]:
    return [counts(error) for error in errors]


def test_the_difference_is_this_system_less_the_other() -> None:
    found = compare(
        [counts(1, 10), counts(0, 30)], [counts(3, 10), counts(2, 30)], system="base", speakers=None
    )
    assert found.difference == pytest.approx((1 - 5) / 40)
    assert found.other.rate == pytest.approx(5 / 40)
    assert found.by_speaker is None


def test_equal_systems_do_not_differ() -> None:
    errors = listed([0, 1, 2, 0, 4] * 4)
    tests = compare(errors, errors, system="base", speakers=None).by_utterance
    assert tests.bootstrap_p == 1.0
    assert tests.matched_pairs_p == 1.0
    assert tests.interval.low is None
    assert tests.interval.reason == "the same in all"


def test_pairing_finds_a_small_difference_that_every_utterance_shows() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 9, size=200)
    better = np.maximum(base - generator.integers(0, 2, size=200), 0)
    tests = compare(
        listed(better.tolist()), listed(base.tolist()), system="base", speakers=None
    ).by_utterance
    assert tests.interval.high is not None
    assert tests.interval.high < 0
    assert tests.bootstrap_p is not None
    assert tests.bootstrap_p < 0.001
    assert tests.matched_pairs_p is not None
    assert tests.matched_pairs_p < 0.001


def test_p_is_below_5_percent_when_the_interval_leaves_zero_out() -> None:
    generator = np.random.default_rng(1)
    left_out = 0
    for trial in range(40):
        shift = trial / 200
        first = generator.poisson(2.0, size=60)
        second = generator.poisson(2.0 + 5 * shift, size=60)
        tests = compare(
            listed(first.tolist()), listed(second.tolist()), system="base", speakers=None
        ).by_utterance
        low, high, p = tests.interval.low, tests.interval.high, tests.bootstrap_p
        assert low is not None
        assert high is not None
        assert p is not None
        if high < 0 or low > 0:
            left_out += 1
            assert p < 0.052
        if low < 0 < high:
            assert p > 0.048
    assert 5 < left_out < 35


def test_p_values_of_equal_systems_are_uniform() -> None:
    generator = np.random.default_rng(2)
    p_values = [
        matched_pairs_p(
            generator.poisson(1.0, size=50) - generator.poisson(1.0, size=50), seed=trial
        )
        for trial in range(200)
    ]
    # 200 trials: below 0.05 in 5 % of them, with a standard deviation of 1.5 %.
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.045)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.11)


@pytest.mark.parametrize("differences", [[1, 1, 1], [3, -1, 2, 0, 4, -2], [-5, 1, 0, 0, -2, -2, 1]])
def test_matched_pairs_agree_with_all_choices_of_signs(differences: list[int]) -> None:
    sums = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    exact = sum(abs(total) >= abs(sum(differences)) for total in sums) / len(sums)
    # Ten thousand draws: a standard deviation of at most 0.005.
    assert matched_pairs_p(np.array(differences), seed=0) == pytest.approx(exact, abs=0.02)


def test_matched_pairs_agree_with_the_normal_curve_for_many_segments() -> None:
    differences = np.random.default_rng(2).poisson(1.06, size=900) - 1
    z = differences.mean() / (differences.std(ddof=1) / math.sqrt(len(differences)))
    expected = math.erfc(abs(z) / math.sqrt(2))
    assert 0.02 < expected < 0.9
    assert matched_pairs_p(differences, seed=0) == pytest.approx(expected, abs=0.02)


def test_speakers_are_the_units_of_the_second_tests() -> None:
    better, base = listed([0, 1, 0, 2, 1, 1]), listed([2, 1, 1, 2, 3, 2])
    found = compare(better, base, system="base", speakers=["a", "a", "b", "b", "c", "c"])
    assert found.by_speaker is not None
    assert found.by_speaker.interval.units == 3
    assert found.by_utterance.interval.units == 6
    # All of three differences have the same sign: 2 of the 8 signs are as extreme.
    assert found.by_speaker.matched_pairs_p == pytest.approx(0.25, abs=0.02)
    assert found.by_speaker.bootstrap_p is None


def test_one_utterance_gives_no_p_value() -> None:
    tests = compare(listed([1]), listed([2]), system="base", speakers=None).by_utterance
    assert (tests.bootstrap_p, tests.matched_pairs_p, tests.interval.low) == (None, None, None)


def test_empty_references_have_no_difference() -> None:
    found = compare(
        [counts(1, 0), counts(0, 0)], [counts(0, 0), counts(0, 0)], system="base", speakers=None
    )
    assert found.difference is None
    assert found.by_utterance.bootstrap_p is None


def test_other_references_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 and 1 with other reference lengths"):
        compare(listed([1, 2]), listed([1]), system="base", speakers=None)
    with pytest.raises(ValueError, match="score both against the same manifest"):
        compare([counts(1, 10)], [counts(1, 11)], system="base", speakers=None)


def test_holm_by_hand() -> None:
    # The smallest of four times 4; 0.02 times 3 exceeds 0.03 times 2, which may not be below it.
    assert holm([0.02, 0.01, 0.5, 0.03]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


def test_holm_passes_over_tests_that_were_not_made() -> None:
    assert holm([None, 0.01, None, 0.04]) == pytest.approx([None, 0.02, None, 0.04])


def test_each_kind_of_test_is_corrected_on_its_own() -> None:
    generator = np.random.default_rng(5)
    base = listed(generator.poisson(1.0, size=120).tolist())
    others = {
        name: listed(generator.poisson(rate, size=120).tolist())
        for name, rate in (("near", 1.1), ("far", 1.4), ("farther", 1.8))
    }
    speakers = [f"s{index % 24}" for index in range(120)]
    together = compare_all(base, others, speakers=speakers)
    alone = [compare(base, other, system=name, speakers=speakers) for name, other in others.items()]
    assert [item.system for item in together] == ["near", "far", "farther"]
    for units in ("by_utterance", "by_speaker"):
        single = [getattr(item, units) for item in alone]
        several = [getattr(item, units) for item in together]
        for test in ("bootstrap", "matched_pairs"):
            raw = [getattr(tests, f"{test}_p") for tests in single]
            assert [getattr(tests, f"{test}_p") for tests in several] == raw
            assert [getattr(tests, f"{test}_holm_p") for tests in single] == raw
            assert [getattr(tests, f"{test}_holm_p") for tests in several] == holm(raw)


def test_nothing_to_compare_with_gives_no_comparison() -> None:
    assert compare_all(listed([1]), {}, speakers=["a"]) == ()
