"""n-best lists ranked anew: the parts of their scores under other weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.decoding.hypothesis import Alternative


@dataclass(frozen=True, kw_only=True)
class RescoringWeights:
    """What the parts of a score count.

    score = acoustic_score + the sum of weight * score over language models + length_bonus * length.

    Args:
        lm_weights: Of each language model, by its name in `Alternative.lm_scores`.
        length_bonus: Added for each unit of `Alternative.length`, a natural logarithm.
    """

    lm_weights: Mapping[str, float]
    length_bonus: float


def best_places(
    nbests: Sequence[Sequence[Alternative]], weights: Sequence[RescoringWeights]
) -> NDArray[np.int64]:
    """Find the best transcript of each list.

    Args:
        nbests: The transcripts of each item, one or more.
        weights: One set of weights or many, all of the same language models.

    Returns:
        (item, weights) the place of the best in its list; of equal ones the first.

    Raises:
        ValueError: A transcript lacks the score of a language model.
    """
    names = list(weights[0].lm_weights)
    # (weights, part)
    factors = np.array(
        [[1.0, each.length_bonus, *(each.lm_weights[name] for name in names)] for each in weights]
    )
    places = np.empty((len(nbests), len(weights)), dtype=np.int64)
    for item, nbest in enumerate(nbests):
        # (alternative, part)
        parts = np.array([_parts(alternative, names) for alternative in nbest])
        places[item] = (parts @ factors.T).argmax(axis=0)
    return places


def _parts(alternative: Alternative, names: Sequence[str]) -> list[float]:
    lacking = [name for name in names if name not in alternative.lm_scores]
    if lacking:
        raise ValueError(
            f"expected {', '.join(names)} of every transcript of an n-best list, found one without "
            f"{', '.join(lacking)}; score all with the same language models"
        )
    scores = [alternative.lm_scores[name] for name in names]
    return [alternative.acoustic_score, alternative.length, *scores]
