"""How well a language model predicts a text."""

import math
from dataclasses import dataclass
from typing import Any

from asr.data.text_corpus import TextCorpus


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Perplexities of a text; the end of a sentence counts as one word and as one token.

    Args:
        log_prob: Log-probability of all sentences with their ends, natural logarithm.
        corpus: The sentences, at least one.
    """

    log_prob: float
    corpus: TextCorpus

    @property
    def per_word(self) -> float:
        """Inverse of the geometric mean of the probabilities of words."""
        return math.exp(-self.log_prob / (self.corpus.words + len(self.corpus.sentences)))

    @property
    def per_token(self) -> float:
        """Inverse of the geometric mean of the probabilities of tokens."""
        return math.exp(-self.log_prob / (self.corpus.tokens + len(self.corpus.sentences)))

    def record(self) -> dict[str, Any]:
        """All figures, as JSON has them."""
        return {
            "perplexity_per_word": self.per_word,
            "perplexity_per_token": self.per_token,
            "log_prob": self.log_prob,
            "sentences": len(self.corpus.sentences),
            "words": self.corpus.words,
            "tokens": self.corpus.tokens,
            "out_of_vocabulary_words": self.corpus.out_of_vocabulary_words,
            "sentences_left_out": self.corpus.left_out,
        }
