"""N-gram language models over words: estimated into one ARPA file, loaded for the word search."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.lm.arpa import SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, NgramModel, write_arpa
from asr.lm.estimate import estimate

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


BINARY_MAGIC = b"mmap lm http://kheafield.com/code"
"""What kenlm's binaries begin with."""


def load_word_lm(path: Path, words: Sequence[str]) -> Any:  # noqa: ANN401 - the library has no types
    """Load a language model.

    Args:
        path: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        words: Different words, which it is asked for by their places here.

    Returns:
        A flashlight-text `KenLM`.

    Raises:
        FileNotFoundError: The extra `lm` is not installed.
        ValueError: The file is damaged.
    """
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError:
        raise FileNotFoundError(
            "expected the package flashlight-text to decode with a word-level language model, "
            "found none; run: tools/setup.sh lm"
        ) from None
    try:
        return KenLM(str(path), Dictionary(list(words)))
    except RuntimeError as error:
        message = " ".join(str(error).split())
        # Before it stands where in kenlm's source.
        reason = message.partition(" threw ")[2] or message
        raise ValueError(
            f"{path}: expected a complete ARPA file or kenlm's binary, found: {reason}; download "
            "or build it again"
        ) from None


def unigram_scores(model: Any, words: int) -> list[float]:  # noqa: ANN401 - see load_word_lm
    """Score words without context.

    Args:
        model: From `load_word_lm`.
        words: How many words it was loaded with.

    Returns:
        log10 of each word's probability; that of the unknown word where the model lacks it.
    """
    no_context = model.start(True)
    return [model.score(no_context, word)[1] for word in range(words)]
