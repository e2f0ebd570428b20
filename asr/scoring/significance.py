"""Whether two systems differ, from their errors on the same utterances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr.scoring.counts import ErrorCounts, pool
from asr.scoring.intervals import (
    FEW_UNITS,
    RESAMPLES,
    Integers,
    Interval,
    group_totals,
    interval_of,
    resampled_rates,
)


@dataclass(frozen=True, kw_only=True)
class PairedTests:
    """Two tests of the same question, over utterances or over speakers.

    Args:
        interval: Of the difference of the pooled rates, this system's less the other's.
        bootstrap_p: Two-sided p value of the paired bootstrap; None for fewer than 20 units, where
            it claims too much (three speakers that agree would give p = 0.0002).
        matched_pairs_p: Two-sided p value of the matched-pairs test; None for fewer than 2 units.
        bootstrap_holm_p: The bootstrap's p value, corrected by Holm for the number of systems that
            were compared; of a single one, equal to the uncorrected.
        matched_pairs_holm_p: The matched pairs' p value, corrected in the same way.
    """

    interval: Interval
    bootstrap_p: float | None
    matched_pairs_p: float | None
    bootstrap_holm_p: float | None
    matched_pairs_holm_p: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A system against another one.

    Args:
        system: The other system's name.
        other: The other system's counts.
        difference: This system's rate less the other's, so that below 0 this one is better; None
            where the references are empty.
        by_utterance: Tests over utterances.
        by_speaker: Tests over speakers; None where speakers are unknown.
        missing: Ids without a hypothesis of the other system, counted as empty ones.
    """

    system: str
    other: ErrorCounts
    difference: float | None
    by_utterance: PairedTests
    by_speaker: PairedTests | None
    missing: tuple[str, ...] = ()


def compare_all(
    counts: Sequence[ErrorCounts],
    others: Mapping[str, Sequence[ErrorCounts]],
    *,
    speakers: Sequence[str] | None,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compare one system with each of several others; arguments and errors as in `compare`.

    Args:
        counts: This system's errors of each utterance.
        others: The others' by name of the system.
        speakers: The speaker of each utterance; None where unknown.
        seed: The same seed gives the same intervals and p values.

    Returns:
        A comparison for each other system, in their order, with p values corrected for their
        number: each test over each kind of unit is a family of its own.
    """
    comparisons = [
        compare(counts, other, system=name, speakers=speakers, seed=seed)
        for name, other in others.items()
    ]
    by_utterance = _corrected([comparison.by_utterance for comparison in comparisons])
    by_speaker = _corrected([item.by_speaker for item in comparisons if item.by_speaker])
    return tuple(
        replace(
            comparison, by_utterance=tests, by_speaker=by_speaker[index] if by_speaker else None
        )
        for index, (comparison, tests) in enumerate(zip(comparisons, by_utterance, strict=True))
    )


def _corrected(family: Sequence[PairedTests]) -> list[PairedTests]:
    bootstrap = holm([tests.bootstrap_p for tests in family])
    matched_pairs = holm([tests.matched_pairs_p for tests in family])
    return [
        replace(tests, bootstrap_holm_p=one, matched_pairs_holm_p=two)
        for tests, one, two in zip(family, bootstrap, matched_pairs, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p values of one family of tests, so that it errs as rarely as a single test.

    Args:
        p_values: One a test; None where a test was not made, which counts for nothing.

    Returns:
        The corrected p values in the same order: the smallest of m times m, the next times m - 1,
        and so on, none below the one before it and none above 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    made = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, index) in enumerate(made):
        corrected[index] = floor = max(floor, min(1.0, (len(made) - rank) * p))
    return corrected


def compare(
    counts: Sequence[ErrorCounts],
    other: Sequence[ErrorCounts],
    *,
    system: str,
    speakers: Sequence[str] | None,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same utterances.

    Args:
        counts: This system's errors of each utterance.
        other: The other system's, in the same order, against the same references.
        system: The other system's name.
        speakers: The speaker of each utterance; None where unknown.
        seed: The same seed gives the same intervals and p values.

    Returns:
        The difference of the pooled rates with its tests.

    Raises:
        ValueError: The two are not about the same references.

    Source: Bisani and Ney 2004 (paired bootstrap); Gillick and Cox 1989, "Some
        statistical issues in the comparison of speech recognition algorithms" (matched pairs).
    """
    lengths = [count.reference_length for count in counts]
    if lengths != [count.reference_length for count in other]:
        raise ValueError(
            f"expected two systems scored on the same utterances, found {len(counts)} and "
            f"{len(other)} with other reference lengths; score both against the same manifest"
        )
    differences = [this.errors - that.errors for this, that in zip(counts, other, strict=True)]
    utterances = [str(index) for index in range(len(counts))]
    tests = [
        None
        if groups is None
        else _tests(group_totals(differences, groups), group_totals(lengths, groups), seed)
        for groups in (utterances, speakers)
    ]
    assert tests[0] is not None
    total = sum(lengths)
    return Comparison(
        system=system,
        other=pool(other),
        difference=sum(differences) / total if total else None,
        by_utterance=tests[0],
        by_speaker=tests[1],
    )


def _tests(differences: Integers, lengths: Integers, seed: int) -> PairedTests:
    interval = interval_of(differences, lengths, seed=seed)
    units = len(differences) if lengths.sum() > 0 else 0
    bootstrap = _bootstrap_p(differences, lengths, seed) if units >= FEW_UNITS else None
    matched_pairs = matched_pairs_p(differences, seed=seed) if units >= 2 else None
    return PairedTests(
        interval=interval,
        bootstrap_p=bootstrap,
        matched_pairs_p=matched_pairs,
        bootstrap_holm_p=bootstrap,
        matched_pairs_holm_p=matched_pairs,
    )


def _bootstrap_p(differences: Integers, lengths: Integers, seed: int) -> float:
    # The level at which the percentile interval would just touch 0; the same seed as the interval,
    # so that the two agree. One more on both sides of the fraction: p is never 0.
    rates = resampled_rates(differences, lengths, seed=seed)
    tail = min(np.count_nonzero(rates <= 0), np.count_nonzero(rates >= 0))
    return min(1.0, 2 * (float(tail) + 1) / (len(rates) + 1))


def matched_pairs_p(differences: Integers, *, seed: int) -> float:
    """Two-sided p value of the matched-pairs test.

    Gillick and Cox's statistic, the sum of the differences of errors over independent segments,
    here utterances or speakers. Its distribution when the systems are equal comes from drawing the
    sign of each difference at random, not from the normal curve, which few segments do not follow.

    Args:
        differences: (segment,) errors of one system less those of the other.
        seed: The same seed gives the same p.

    Returns:
        The share of drawn sums that are at least as far from 0 as the one found; never 0.
    """
    differing = differences[differences != 0].astype(np.float64)  # exact: errors are whole numbers
    found = abs(differing.sum())
    generator = np.random.default_rng(seed)
    block = max(1, (1 << 22) // max(1, len(differing)))
    as_far = 0
    for start in range(0, RESAMPLES, block):
        shape = (min(block, RESAMPLES - start), len(differing))
        signs = 2.0 * generator.integers(2, size=shape, dtype=np.int8) - 1.0
        as_far += int(np.count_nonzero(np.abs(signs @ differing) >= found))
    return (as_far + 1) / (RESAMPLES + 1)
