"""Weight tuning: weights of scores with the fewest word errors on n-best lists of a dev set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest import Utterance
from asr.scoring.counts import ErrorCounts, count_errors_batch, pool
from asr.scoring.intervals import Interval, rate_interval
from asr.scoring.report import match_texts, name_ids, reference_texts
from asr.transcripts.hypothesis import Alternative, Hypothesis
from asr.transcripts.nbest import (
    LengthUnit,
    RescoringWeights,
    best_places,
    length_unit,
    score_fields,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# The lowest and the highest value and the distance between values of the first grid.
_LM_WEIGHTS = (0.0, 2.0, 0.2)
_LENGTH_BONUSES = (-2.0, 4.0, 0.5)
_FINER = 5
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Word errors of a set of utterances.

    Args:
        counts: Of all together.
        interval: Over utterances.
    """

    counts: ErrorCounts
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class TunedWeights:
    """Weights and what they lead to.

    Args:
        weights: Of the parts of a score.
        words: Errors of the transcripts that are best under these weights.
    """

    weights: RescoringWeights
    words: WordErrors


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What `tune` found.

    Args:
        utterances: Number of utterances.
        length_unit: What the length bonus is given for.
        decoded: Errors of the transcripts as they were decoded.
        best: The weights with the fewest errors, then the best ones with more.
    """

    utterances: int
    length_unit: LengthUnit
    decoded: WordErrors
    best: tuple[TunedWeights, ...]


def tune(references: Sequence[Utterance], hypotheses: Mapping[str, Hypothesis]) -> Tuning:
    """Find the weights of n-best lists whose best transcripts have the fewest word errors.

    A grid over all weights is tried, then a finer one around its best. Among weights with the same
    number of errors those in the middle are the best.

    Args:
        references: Utterances with transcripts.
        hypotheses: n-best lists, by utterance id.

    Returns:
        The best weights, each number of errors once.

    Raises:
        ValueError: References and hypotheses do not fit together, an utterance has no n-best list,
            or lists hold no score to weigh.
    """
    said = reference_texts(references)
    texts = {name: hypothesis.text for name, hypothesis in hypotheses.items()}
    recognised, absent = match_texts(references, texts, missing="deletions", system="n-best lists")
    without = absent + [name for name, item in hypotheses.items() if not item.nbest]
    if without:
        raise ValueError(
            f"expected an n-best list of every utterance, found none of {name_ids(without)}; "
            "decode the manifest with --nbest"
        )
    nbests = [hypotheses[utterance.id].nbest for utterance in references]
    names = score_fields(nbests)
    if not names:
        raise ValueError(
            "expected n-best lists with scores of a language model or another recogniser, found "
            "none; decode with --lm, or add scores with `asr rescore`"
        )
    errors = _errors(said, nbests)

    def total_errors(points: Floats) -> Integers:
        places = best_places(nbests, [_weights(point, names) for point in points])
        chosen = np.array([some[row] for some, row in zip(errors, places, strict=True)])
        total: Integers = chosen.sum(axis=0)
        return total

    best = []
    for point in _search(total_errors, lm_weights=len(names)):
        weights = _weights(point, names)
        places = best_places(nbests, [weights])[:, 0]
        chosen = [nbest[place].text for nbest, place in zip(nbests, places, strict=True)]
        best.append(TunedWeights(weights=weights, words=_word_errors(said, chosen)))
    return Tuning(
        utterances=len(references),
        length_unit=length_unit(nbests),
        decoded=_word_errors(said, recognised),
        best=tuple(best),
    )


def _errors(said: Sequence[str], nbests: Sequence[Sequence[Alternative]]) -> list[Integers]:
    """Word errors (alternative,) of each list."""
    references = [text for text, nbest in zip(said, nbests, strict=True) for _ in nbest]
    texts = [alternative.text for nbest in nbests for alternative in nbest]
    counts = count_errors_batch(references, texts, unit="word")
    errors = np.array([count.errors for count in counts], dtype=np.int64)
    return np.split(errors, np.cumsum([len(nbest) for nbest in nbests])[:-1])


def _word_errors(said: Sequence[str], recognised: Sequence[str]) -> WordErrors:
    counts = count_errors_batch(said, recognised, unit="word")
    return WordErrors(counts=pool(counts), interval=rate_interval(counts))


def _weights(point: Floats, names: Sequence[str]) -> RescoringWeights:
    *lm_weights, length_bonus = point.tolist()
    return RescoringWeights(
        lm_weights=dict(zip(names, lm_weights, strict=True)), length_bonus=length_bonus
    )


def _search(total_errors: Callable[[Floats], Integers], *, lm_weights: int) -> list[Floats]:
    """The best points (parameter,): see `_ranked`."""
    ranges = [_LM_WEIGHTS] * lm_weights + [_LENGTH_BONUSES]
    steps = np.array([step for _, _, step in ranges])
    coarse = _grid([np.arange(low, high + step / 2, step) for low, high, step in ranges])
    middle = _ranked(coarse, total_errors(coarse), steps)[0]
    around = np.arange(1 - _FINER, _FINER) / _FINER
    *weights, bonuses = (value + around * step for value, step in zip(middle, steps, strict=True))
    # No weight is negative.
    fine = _grid([*(np.unique(axis.clip(min=0.0)) for axis in weights), bonuses])
    points = np.unique(np.concatenate([coarse, fine]), axis=0)
    return _ranked(points, total_errors(points), steps)[:_SHOWN]


def _grid(axes: Sequence[Floats]) -> Floats:
    """(point, parameter) all combinations; two decimals hold every value."""
    return np.round(np.array(list(product(*axes))), 2)


def _ranked(points: Floats, errors: Integers, steps: Floats) -> list[Floats]:
    """For each number of errors, the fewest first, the point nearest to the middle of its points.

    In the middle a little more or less of anything changes nothing.
    """
    ranked = []
    for number in np.unique(errors):
        equal = points[errors == number]
        distances = (((equal - equal.mean(axis=0)) / steps) ** 2).sum(axis=1)
        # Rounded, so that of points at the same distance the first is taken.
        ranked.append(equal[distances.round(9).argmin()])
    return ranked
