"""Random text for n-grams: some tokens often follow each other, some never occur."""

import numpy as np
import pytest
from numpy.typing import NDArray

VOCAB_SIZE = 9


@pytest.fixture(scope="session")
def sentences() -> list[NDArray[np.int32]]:
    """300 sentences of 0 to 11 labels in 2 .. 9; label 1 stands for the unknown piece."""
    generator = np.random.default_rng(3)
    following = generator.dirichlet(np.full(VOCAB_SIZE - 1, 0.3), size=VOCAB_SIZE - 1)
    drawn = []
    for length in generator.integers(0, 12, size=300):
        labels = [int(generator.integers(VOCAB_SIZE - 1))]
        while len(labels) <= length:
            labels.append(int(generator.choice(VOCAB_SIZE - 1, p=following[labels[-1]])))
        drawn.append(np.array(labels[:length], dtype=np.int32) + 2)
    return drawn


@pytest.fixture(scope="session")
def pieces() -> list[str]:
    return ["<unk>", *("\u2581abcdefg"[: VOCAB_SIZE - 1])]
