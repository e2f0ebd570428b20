"""N-gram language models over words, as one ARPA file: what the lexicon decoder reads."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from asr.ngram.arpa import SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, NgramModel, write_arpa
from asr.ngram.estimate import estimate

_UNKNOWN_LABEL = 1
# kenlm as packaged, which decoding reads the file with.
_MAX_ORDER = 6


def train_word_ngram(
    sentences: Iterable[str],
    out: Path,
    *,
    order: int,
    min_word_count: int = 1,
    more_words: Iterable[str] = (),
    min_counts: Sequence[int] | None = None,
) -> NgramModel:
    """Estimate a language model over words and write it.

    Args:
        sentences: Normalised text, words separated by single blanks.
        out: The ARPA file, gzipped if its name ends in `.gz`; it must be new.
        order: Words in the longest n-grams, <= 6.
        min_word_count: Occurrences that a word needs; rarer ones count as `<unk>`.
        more_words: Normalised words to know however often they occur; of one that the text lacks
            the probability is the unigrams' uniform share.
        min_counts: As in `estimate`.

    Returns:
        The model.

    Raises:
        ValueError: The file is there, its name does not end in `.arpa` or `.arpa.gz`, a setting is
            wrong, or there is no text.
    """
    if not out.name.endswith((".arpa", ".arpa.gz")):
        raise ValueError(
            f"expected a file whose name ends in .arpa or .arpa.gz, found {out}; correct --out"
        )
    if order > _MAX_ORDER:
        raise ValueError(
            f"expected an order of at most {_MAX_ORDER}, which kenlm reads, found {order}; lower it"
        )
    if out.exists():
        raise ValueError(f"expected a new file, found {out}; remove it or give another --out")
    split = [sentence.split() for sentence in sentences]
    counts = Counter(word for sentence in split for word in sentence)
    frequent = (word for word, count in counts.items() if count >= min_word_count)
    kept = sorted({*frequent, *more_words})
    labels = {word: label for label, word in enumerate(kept, start=_UNKNOWN_LABEL + 1)}
    orders = estimate(
        [
            np.array([labels.get(word, _UNKNOWN_LABEL) for word in sentence], dtype=np.int32)
            for sentence in split
        ],
        vocab_size=len(kept) + 1,
        order=order,
        min_counts=min_counts,
    )
    model = NgramModel(words=[SENTENCE_BEGIN, UNKNOWN, *kept, SENTENCE_END], orders=orders)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_arpa(model, out)
    return model
