import logging
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.lm.arpa import NgramOrder
from asr.lm.estimate import estimate

BEGIN = 0
VOCAB_SIZE = 9
Gram = tuple[int, ...]


def arrays(*sentences: Sequence[int]) -> list[NDArray[np.int32]]:
    return [np.array(sentence, dtype=np.int32) for sentence in sentences]


def as_dict(order: NgramOrder, values: NDArray[np.float32]) -> dict[Gram, float]:
    return {
        tuple(gram): math.exp(value)
        for gram, value in zip(order.grams.tolist(), values.tolist(), strict=True)
    }


def test_a_hand_computed_case(caplog: pytest.LogCaptureFixture) -> None:
    """Pieces 1, 2 and 3, sentences "1 2" and "1"; </s> is 4. Discounts are 0.5, 1.0 and 1.5."""
    unigrams, bigrams = estimate(arrays([1, 2], [1]), vocab_size=3, order=2)
    # Different tokens before 1: <s>; before 2: 1; before 4: 2 and 1; before 3: none. 4 in all.
    # Shares: (1 - 0.5) / 4, (1 - 0.5) / 4, (2 - 1.0) / 4 and 0; 0.5 is left, a quarter for each.
    assert as_dict(unigrams, unigrams.log_probs) == pytest.approx(
        {(0,): 0, (1,): 0.125 + 0.125, (2,): 0.125 + 0.125, (3,): 0.125, (4,): 0.25 + 0.125}
    )
    # <s> 1 occurs twice; 1 2, 1 </s> and 2 </s> once. After <s> and after 1 two tokens, after 2
    # one. Left: 1.0 / 2, (0.5 + 0.5) / 2, 0.5 / 1; nothing follows 3 and 4.
    assert as_dict(unigrams, unigrams.backoffs) == pytest.approx(
        {(0,): 0.5, (1,): 0.5, (2,): 0.5, (3,): 1, (4,): 1}
    )
    assert as_dict(bigrams, bigrams.log_probs) == pytest.approx(
        {
            (0, 1): 1.0 / 2 + 0.5 * 0.25,
            (1, 2): 0.5 / 2 + 0.5 * 0.25,
            (1, 4): 0.5 / 2 + 0.5 * 0.375,
            (2, 4): 0.5 / 1 + 0.5 * 0.375,
        }
    )
    assert not bigrams.backoffs.any()
    assert [record.getMessage() for record in caplog.records] == [
        "order 1: 2, 1, 0, 0 n-grams of count 1, 2, 3 and 4 give no discounts; taking "
        "(0.5, 1.0, 1.5)",
        "order 2: 3, 1, 0, 0 n-grams of count 1, 2, 3 and 4 give no discounts; taking "
        "(0.5, 1.0, 1.5)",
    ]


def test_discounts_from_counts_of_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Sentences of one token: 1 and 2 once, 3 twice, 4 three times, 5 four times.

    Bigrams <s> x and x </s>: 4, 2, 2 and 2 of count 1, 2, 3 and 4. Y = 4 / (4 + 2 * 2) = 1/2,
    D1 = 1 - 2 Y 2/4 = 0.5, D2 = 2 - 3 Y 2/2 = 0.5, D3 = 3 - 4 Y 2/2 = 1.
    """
    sentences = arrays(*[[1]], [2], *[[3]] * 2, *[[4]] * 3, *[[5]] * 4)
    unigrams, bigrams = estimate(sentences, vocab_size=5, order=2)
    backoffs = as_dict(unigrams, unigrams.backoffs)
    left = {
        (0,): (0.5 + 0.5 + 0.5 + 1 + 1) / 11, (1,): 0.5, (2,): 0.5, (3,): 0.5 / 2, (4,): 1 / 3,
        (5,): 1 / 4, (6,): 1,
    }  # fmt: skip
    assert backoffs == pytest.approx(left)
    end = as_dict(unigrams, unigrams.log_probs)[(6,)]
    assert as_dict(bigrams, bigrams.log_probs)[(4, 6)] == pytest.approx(2 / 3 + end / 3)
    assert [record.getMessage()[:8] for record in caplog.records] == ["order 1:"]


class Naive:
    """The same estimate by recursion over dictionaries, straight from the definition."""

    def __init__(
        self, sentences: list[NDArray[np.int32]], order: int, min_counts: Sequence[int]
    ) -> None:
        self.order, self.min_counts = order, min_counts
        self.occurrences: Counter[Gram] = Counter()
        before: dict[Gram, set[int]] = defaultdict(set)
        for sentence in sentences:
            tokens = (BEGIN, *sentence.tolist(), VOCAB_SIZE + 1)
            for n in range(1, order + 1):
                for start in range(len(tokens) - n + 1):
                    gram = tokens[start : start + n]
                    self.occurrences[gram] += 1
                    if start > 0:
                        before[gram].add(tokens[start - 1])
        self.adjusted = {
            gram: count if len(gram) == order or gram[0] == BEGIN else len(before[gram])
            for gram, count in self.occurrences.items()
            if gram != (BEGIN,)
        }
        self.followers: dict[Gram, dict[int, int]] = defaultdict(dict)
        for gram, count in self.adjusted.items():
            self.followers[gram[:-1]][gram[-1]] = count
        self.discounts = {n: self.discounts_of(n) for n in range(1, order + 1)}

    def discounts_of(self, n: int) -> list[float]:
        of_order = [count for gram, count in self.adjusted.items() if len(gram) == n]
        n1, n2, n3, n4 = (of_order.count(count) for count in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return [0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        inside = all(0 < found[i] < i for i in (1, 2, 3))
        return found if inside else [0, 0.5, 1.0, 1.5]

    def prob(self, context: Gram, token: int) -> float:
        context = context[-(self.order - 1) :]
        shorter = self.prob(context[1:], token) if context else 1 / (VOCAB_SIZE + 1)
        if context not in self.followers:
            return shorter
        n = len(context) + 1
        total = sum(self.followers[context].values())
        left, own = float(total), 0.0
        for follower, count in self.followers[context].items():
            gram = (*context, follower)
            if n > 1 and self.occurrences[gram] < self.min_counts[n - 1]:
                continue
            share = count - self.discounts[n][min(count, 3)]
            left -= share
            own += share if follower == token else 0.0
        return own / total + left / total * shorter


def walk(orders: list[NgramOrder], context: Gram, token: int) -> float:
    """Probability by an ARPA file's rules."""
    tables = [as_dict(order, order.log_probs) for order in orders]
    weights = [as_dict(order, order.backoffs) for order in orders]
    context = context[-(len(orders) - 1) :]
    factor = 1.0
    while (*context, token) not in tables[len(context)]:
        factor *= weights[len(context) - 1].get(context, 1.0)
        context = context[1:]
    return factor * tables[len(context)][(*context, token)]


@pytest.mark.parametrize(
    ("order", "min_counts"),
    [(2, None), (3, None), (4, None), (3, [1, 1, 2]), (4, [1, 2, 3, 3])],
)
def test_equals_the_definition(
    sentences: list[NDArray[np.int32]],
    order: int,
    min_counts: list[int] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    naive = Naive(sentences, order, min_counts or [1] * order)
    orders = estimate(sentences, vocab_size=VOCAB_SIZE, order=order, min_counts=min_counts)
    tokens = range(1, VOCAB_SIZE + 2)
    for n, of_order in enumerate(orders, start=1):
        grams = [gram for gram in naive.occurrences if len(gram) == n]
        if n == 1:
            kept: set[Gram] = {(token,) for token in (BEGIN, *tokens)}
        else:
            least = (min_counts or [1] * order)[n - 1]
            kept = {gram for gram in grams if naive.occurrences[gram] >= least}
        assert list(map(tuple, of_order.grams.tolist())) == sorted(kept)
        for gram, prob in as_dict(of_order, of_order.log_probs).items():
            if gram != (BEGIN,):
                assert prob == pytest.approx(naive.prob(gram[:-1], gram[-1]), rel=1e-5)
    # Every context that occurs, and some that do not.
    contexts = {gram[:-1] for gram in naive.occurrences} | set(product(range(1, 5), repeat=2))
    for context in sorted(contexts)[:: 1 + len(contexts) // 60]:
        found = [walk(orders, context, token) for token in tokens]
        assert found == pytest.approx([naive.prob(context, token) for token in tokens], rel=1e-5)
        assert sum(found) == pytest.approx(1, abs=1e-5)


def test_large_vocabularies_do_not_overflow() -> None:
    """Tokens of 20 bits, at order 6 in one row 120 bits."""
    sentence = [1_000_000, 999_999, 5, 1_000_000, 999_999, 5, 7]
    orders = estimate(arrays(sentence), vocab_size=1_000_000, order=6)
    tokens = [BEGIN, *sentence, 1_000_001]
    for n in range(2, 7):
        expected = {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}
        assert list(map(tuple, orders[n - 1].grams.tolist())) == sorted(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 1}, "expected an order of at least 2, found 1"),
        ({"order": 2, "min_counts": [1]}, r"expected 2 minimum counts .*, found \[1\]"),
        ({"order": 2, "min_counts": [2, 2]}, r"begin with 1 and never fall, found \[2, 2\]"),
        ({"order": 3, "min_counts": [1, 3, 2]}, r"never fall, found \[1, 3, 2\]"),
        ({"order": 2, "vocab_size": 1}, r"expected labels in 1 \.\. 1, found 1 \.\. 2"),
    ],
)
def test_wrong_settings_are_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(arrays([1, 2]), **{"vocab_size": 2, **settings})  # type: ignore[arg-type]


def test_blanks_and_no_text_are_errors() -> None:
    with pytest.raises(ValueError, match=r"expected labels in 1 \.\. 2, found 0 \.\. 1"):
        estimate(arrays([0, 1]), vocab_size=2, order=2)
    with pytest.raises(ValueError, match="expected sentences to count n-grams in, found none"):
        estimate([], vocab_size=2, order=2)
