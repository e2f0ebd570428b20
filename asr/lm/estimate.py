"""Interpolated modified Kneser-Ney estimates from sequences of labels.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling",
section 3 (modified Kneser-Ney, three discounts an order).
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.lm.arpa import NEVER_LOG10, NgramOrder

logger = logging.getLogger(__name__)

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""Discounts of counts 1, 2 and 3 or more where the counts of counts give none."""

_BEGIN = 0
_NEVER = np.float32(NEVER_LOG10 * math.log(10.0))


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """The distinct n-grams of one order, in the order of their tokens.

    Args:
        contexts: (ngram,) place of each without its last token among the (n-1)-grams.
        suffixes: (ngram,) place of each without its first token among the (n-1)-grams.
        tokens: (ngram,) its last token.
        occurrences: (ngram,) how often it occurs.
    """

    contexts: NDArray[np.int64]
    suffixes: NDArray[np.int64]
    tokens: NDArray[np.int64]
    occurrences: NDArray[np.int64]


def estimate(
    sentences: Sequence[NDArray[np.int32]],
    *,
    vocab_size: int,
    order: int,
    min_counts: Sequence[int] | None = None,
) -> list[NgramOrder]:
    """Estimate a model; `<s>` is token 0, the labels are tokens 1 .. N and `</s>` is token N + 1.

    P(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + gamma(h) P(w | h without its first token)

    - a(g) is how often g occurs at the highest order, and at lower ones how many different tokens
      come before g; g that begins with `<s>`, which nothing comes before, keeps its occurrences.
    - D(1), D(2) and D(3 or more) of each order come from the counts of its a. Where one of the
      counts of 1 .. 4 is zero, or a discount D(i) is not between 0 and i, as for the few unigrams
      of a small vocabulary, the order takes `FALLBACK_DISCOUNTS`, with a logged warning.
    - gamma(h) is what the discounts leave. Unigrams are interpolated with 1 / (N + 1).
    - N-grams that occur less than their order's `min_counts` are left out after the discounts are
      known, and gamma(h) takes all of their share.

    Args:
        sentences: Tensors (token,) of labels 1 .. N.
        vocab_size: Number of labels N.
        order: Tokens in the longest n-grams, at least 2.
        min_counts: Occurrences that an n-gram of order 1, 2, ... needs to stay: 1 for order 1,
            never falling. None keeps all.

    Returns:
        The n-grams of each order, sorted; every token is a unigram.

    Raises:
        ValueError: There is no sentence, a label outside 1 .. N, or a wrong setting.
    """
    if order < 2:
        raise ValueError(f"expected an order of at least 2, found {order}; 4 to 6 suits pieces")
    min_counts = [1] * order if min_counts is None else list(min_counts)
    if len(min_counts) != order or min_counts[0] != 1 or sorted(min_counts) != min_counts:
        raise ValueError(
            f"expected {order} minimum counts that begin with 1 and never fall, found "
            f"{min_counts}; give one for each order, such as {[1] * (order - 1) + [2]}"
        )
    tokens, ends = _join(sentences, vocab_size)
    counts = _count(tokens, ends, size=vocab_size + 2, order=order)
    discounted = []
    begins = counts[0].tokens == _BEGIN
    for n, grams in enumerate(counts, start=1):
        adjusted = grams.occurrences
        if n > 1:
            begins = begins[grams.contexts]
        if n < order:
            continuations = np.bincount(counts[n].suffixes, minlength=len(begins))
            adjusted = np.where(begins, grams.occurrences, continuations)
        if n == 1:
            adjusted[_BEGIN] = 0  # never predicted
        discounts = np.array([0.0, *_discounts(adjusted, n)])
        # Every token is a unigram, also one that never occurs.
        kept = (grams.occurrences >= min_counts[n - 1]) | (n == 1)
        share = np.where(kept, adjusted - discounts[np.minimum(adjusted, 3)], 0.0)
        discounted.append((adjusted, share, kept))
    return _interpolate(counts, discounted, vocab_size)


def _join(
    sentences: Sequence[NDArray[np.int32]], vocab_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All sentences with their marks in a row, and for each token the place of its `</s>`."""
    if not sentences:
        raise ValueError("expected sentences to count n-grams in, found none; give text")
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    labels = np.concatenate(sentences, dtype=np.int64)
    if labels.size and not 1 <= labels.min() <= labels.max() <= vocab_size:
        raise ValueError(
            f"expected labels in 1 .. {vocab_size}, found {labels.min()} .. {labels.max()}; "
            "encode the text with the tokenizer whose vocabulary size is given"
        )
    last = np.cumsum(lengths + 2) - 1
    tokens = np.full(last[-1] + 1, -1, dtype=np.int64)
    tokens[last] = vocab_size + 1
    tokens[last - lengths - 1] = _BEGIN
    tokens[tokens == -1] = labels
    return tokens, np.repeat(last, lengths + 2)


def _count(
    tokens: NDArray[np.int64], ends: NDArray[np.int64], *, size: int, order: int
) -> list[_Counts]:
    """Count the n-grams within sentences.

    An n-gram is the pair of its context's place and its last token, so that a key of any order fits
    64 bits whatever the size of the vocabulary.
    """
    zeros = np.zeros(size, dtype=np.int64)
    counts = [
        _Counts(
            contexts=zeros,
            suffixes=zeros,
            tokens=np.arange(size),
            occurrences=np.bincount(tokens, minlength=size),
        )
    ]
    starts = np.arange(len(tokens))
    place = tokens  # of the n-gram that starts at each token
    for n in range(2, order + 1):
        starts = starts[starts + n - 1 <= ends[starts]]
        keys = place[starts] * size + tokens[starts + n - 1]
        distinct, first, inverse, occurrences = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        counts.append(
            _Counts(
                contexts=distinct // size,
                suffixes=place[starts[first] + 1],
                tokens=distinct % size,
                occurrences=occurrences,
            )
        )
        place = np.full(len(tokens), -1)
        place[starts] = inverse
    return counts


def _discounts(adjusted: NDArray[np.int64], n: int) -> tuple[float, ...]:
    """D(1), D(2) and D(3 or more) of one order."""
    counts = np.bincount(np.minimum(adjusted, 5), minlength=5)[1:5].tolist()
    if min(counts) > 0:
        ratio = counts[0] / (counts[0] + 2 * counts[1])
        found = tuple(i - (i + 1) * ratio * counts[i] / counts[i - 1] for i in (1, 2, 3))
        if all(0 < discount < i for i, discount in enumerate(found, start=1)):
            return found
    logger.warning(
        "order %d: %s n-grams of count 1, 2, 3 and 4 give no discounts; taking %s",
        n,
        ", ".join(map(str, counts)),
        FALLBACK_DISCOUNTS,
    )
    return FALLBACK_DISCOUNTS


def _interpolate(
    counts: Sequence[_Counts],
    discounted: Sequence[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]],
    vocab_size: int,
) -> list[NgramOrder]:
    orders: list[NgramOrder] = []
    # The empty context, whose distribution is uniform.
    shorter = np.array([1.0 / (vocab_size + 1)])
    grams = np.empty((1, 0), dtype=np.int32)
    kept_contexts = np.ones(1, dtype=np.bool_)
    for of_order, (adjusted, share, kept) in zip(counts, discounted, strict=True):
        contexts = of_order.contexts
        totals = np.bincount(contexts, weights=adjusted, minlength=len(grams))
        left = np.bincount(contexts, weights=adjusted - share, minlength=len(grams))
        # What ends a sentence is no context.
        weights = np.divide(left, totals, out=np.ones_like(totals), where=totals > 0)
        if orders:
            orders[-1].backoffs[:] = np.log(weights[kept_contexts])
        shorter = share / totals[contexts] + weights[contexts] * shorter[of_order.suffixes]
        grams = np.concatenate(
            [grams[contexts], of_order.tokens[:, np.newaxis].astype(np.int32)], axis=1
        )
        orders.append(
            NgramOrder(
                grams=grams[kept],
                log_probs=np.log(shorter[kept]).astype(np.float32),
                backoffs=np.zeros(int(kept.sum()), dtype=np.float32),
            )
        )
        kept_contexts = kept
    orders[0].log_probs[_BEGIN] = _NEVER
    return orders
