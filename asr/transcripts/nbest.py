"""N-best rescoring: further scores of the transcripts of n-best lists, and their order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asr.transcripts.hypothesis import LM_SCORE, Alternative, Hypothesis

Nbest = tuple[Alternative, ...]
LengthUnit: TypeAlias = Literal["token", "word"]

_SUFFIX = "_score"


@dataclass(frozen=True, kw_only=True)
class RescoringWeights:
    """Weights of the parts of a score.

    score = acoustic_weight * (acoustic_score + blank_penalty_score)
    + the sum of weight * score over `lm_scores` + length_bonus * length.

    Args:
        lm_weights: Of each language model or other recogniser, by its key in
            `Alternative.lm_scores`.
        length_bonus: Added for each unit of `Alternative.length`, a natural logarithm.
        acoustic_weight: Of the recogniser that made the lists.
    """

    lm_weights: Mapping[str, float]
    length_bonus: float
    acoustic_weight: float = 1.0


def score_field(name: str) -> str:
    """The key in `Alternative.lm_scores` of the scores of a name: `lm_score` of `lm`."""
    return name + _SUFFIX


def score_name(field: str) -> str:
    """The name of the scores under a key of `Alternative.lm_scores`: `lm` of `lm_score`."""
    return field.removesuffix(_SUFFIX)


def score_fields(nbests: Iterable[Sequence[Alternative]]) -> list[str]:
    """Keys of the scores that n-best lists hold beside the acoustic one.

    Args:
        nbests: The lists.

    Returns:
        Keys of `Alternative.lm_scores`, sorted. `lm_score` is among them only where it is not 0
        throughout, as it is after a search without a language model.
    """
    alternatives = [each for nbest in nbests for each in nbest]
    fields = {field for each in alternatives for field in each.lm_scores}
    if not any(each.lm_scores.get(LM_SCORE) for each in alternatives):
        fields.discard(LM_SCORE)
    return sorted(fields)


def length_unit(nbests: Iterable[Sequence[Alternative]]) -> LengthUnit:
    """The unit that `Alternative.length` counts in n-best lists.

    Args:
        nbests: The lists.

    Raises:
        ValueError: It is not the same in all of them.
    """
    has_tokens = {alternative.tokens is not None for nbest in nbests for alternative in nbest}
    if len(has_tokens) > 1:
        raise ValueError(
            "expected all n-best lists from one way to decode, found some of token pieces and some "
            "of words; decode the manifest in one go"
        )
    return "token" if has_tokens == {True} else "word"


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
    factors = np.array([_factors(each, names) for each in weights])
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
        name: The name of the scores.

    Returns:
        The lists with the scores.
    """
    texts = list(dict.fromkeys(each.text for nbest in nbests for each in nbest))
    scores = dict(zip(texts, log_probs(texts), strict=True))
    return [with_scores(nbest, [scores[each.text] for each in nbest], name) for nbest in nbests]


def with_scores(nbest: Nbest, scores: Sequence[float], name: str) -> Nbest:
    """An n-best list with one more score of each transcript, under a name."""
    return tuple(
        replace(each, lm_scores={**each.lm_scores, score_field(name): score})
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
    factors = _factors(weights, names)
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


def _factors(weights: RescoringWeights, names: Sequence[str]) -> list[float]:
    """The factors of what `_parts` gives."""
    lm_weights = (weights.lm_weights[name] for name in names)
    return [weights.acoustic_weight, weights.length_bonus, *lm_weights]


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
