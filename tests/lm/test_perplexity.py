import math

import numpy as np
import pytest

from asr.data.text_corpus import TextCorpus
from asr.lm.perplexity import Perplexity


def test_ends_of_sentences_count() -> None:
    """Two sentences of 5 tokens and 3 words in all: 7 tokens and 5 words with their ends."""
    corpus = TextCorpus(
        sentences=[np.array([1, 2], dtype=np.int32), np.array([3, 1, 2], dtype=np.int32)],
        words=3,
        left_out=2,
        out_of_vocabulary_words=4,
        unknown_characters=frozenset("?"),
    )
    perplexity = Perplexity(log_prob=-35 * math.log(2), corpus=corpus)
    assert perplexity.per_token == pytest.approx(2.0**5)
    assert perplexity.per_word == pytest.approx(2.0**7)
    assert perplexity.record() == {
        "perplexity_per_word": pytest.approx(128),
        "perplexity_per_token": pytest.approx(32),
        "log_prob": pytest.approx(-24.2601513),
        "sentences": 2,
        "words": 3,
        "tokens": 5,
        "out_of_vocabulary_words": 4,
        "sentences_left_out": 2,
    }
