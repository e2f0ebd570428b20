"""N-best rescoring: lists ranked anew under other weights and further scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.transcripts.hypothesis import Alternative, Hypothesis

Nbest = tuple[Alternative, ...]


@dataclass(frozen=True, kw_only=True)
class RescoringWeights:
    """What the parts of a score count.

    score = acoustic_score + blank_penalty_score + the sum of weight * score over language models
    + length_bonus * length.

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


def add_scores(
    nbests: Sequence[Nbest], log_probs: Callable[[Sequence[str]], Sequence[float]], *, name: str
) -> list[Nbest]:
    """Score the transcripts of n-best lists by one more language model.

    Args:
        nbests: The lists.
        log_probs: From texts to their natural log-probabilities; asked once for each text.
        name: Under which `Alternative.lm_scores` has them; it ends in `score`.

    Returns:
        The lists with the scores.
    """
    texts = list(dict.fromkeys(each.text for nbest in nbests for each in nbest))
    scores = dict(zip(texts, log_probs(texts), strict=True))
    return [with_scores(nbest, [scores[each.text] for each in nbest], name) for nbest in nbests]


def with_scores(nbest: Nbest, scores: Sequence[float], name: str) -> Nbest:
    """An n-best list with one more score of each transcript."""
    return tuple(
        replace(each, lm_scores={**each.lm_scores, name: score})
        for each, score in zip(nbest, scores, strict=True)
    )


def rank(hypothesis: Hypothesis, nbest: Nbest, weights: RescoringWeights) -> Hypothesis:
    """Put the best transcript on top.

    Args:
        hypothesis: As it was decoded.
        nbest: Its list, with the scores of all language models that have a weight.
        weights: What the parts of a score count.

    Returns:
        The hypothesis with its list in the new order. Words have no times unless the best text is
        that of before.
    """
    names = list(weights.lm_weights)
    factors = [1.0, weights.length_bonus, *weights.lm_weights.values()]
    scores = [float(np.dot(_parts(each, names), factors)) for each in nbest]
    order = sorted(range(len(nbest)), key=lambda place: -scores[place])
    ranked = tuple(replace(nbest[place], score=scores[place]) for place in order)
    same = ranked[0].text == hypothesis.text
    return replace(
        hypothesis,
        text=ranked[0].text,
        score=ranked[0].score,
        words=hypothesis.words if same else (),
        nbest=ranked,
    )


def _parts(alternative: Alternative, names: Sequence[str]) -> list[float]:
    lacking = [name for name in names if name not in alternative.lm_scores]
    if lacking:
        raise ValueError(
            f"expected {', '.join(names)} of every transcript of an n-best list, found one without "
            f"{', '.join(lacking)}; score all with the same language models"
        )
    scores = [alternative.lm_scores[name] for name in names]
    # The blank penalty of the search stays in the ranking: weights tuned on lists fit the search.
    acoustic_score = alternative.acoustic_score + alternative.blank_penalty_score
    return [acoustic_score, alternative.length, *scores]
