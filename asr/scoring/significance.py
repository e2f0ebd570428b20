"""Whether two systems differ, from their errors on the same utterances."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """

    interval: Interval
    bootstrap_p: float | None
    matched_pairs_p: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A system against another one.

    Args:
        other: The other system's counts.
        difference: This system's rate less the other's, so that below 0 this one is better; None
            where the references are empty.
        by_utterance: Tests over utterances.
        by_speaker: Tests over speakers; None where speakers are unknown.
    """

    other: ErrorCounts
    difference: float | None
    by_utterance: PairedTests
    by_speaker: PairedTests | None


def compare(
    counts: Sequence[ErrorCounts],
    other: Sequence[ErrorCounts],
    *,
    speakers: Sequence[str] | None,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same utterances.

    Args:
        counts: This system's errors of each utterance.
        other: The other system's, in the same order, against the same references.
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
        other=pool(other),
        difference=sum(differences) / total if total else None,
        by_utterance=tests[0],
        by_speaker=tests[1],
    )


def _tests(differences: Integers, lengths: Integers, seed: int) -> PairedTests:
    interval = interval_of(differences, lengths, seed=seed)
    units = len(differences) if lengths.sum() > 0 else 0
    return PairedTests(
        interval=interval,
        bootstrap_p=_bootstrap_p(differences, lengths, seed) if units >= FEW_UNITS else None,
        matched_pairs_p=matched_pairs_p(differences, seed=seed) if units >= 2 else None,
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
