"""N-gram language models over words: estimated into one ARPA file, loaded, asked for text."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.lm.arpa import (
    SENTENCE_BEGIN,
    SENTENCE_END,
    UNKNOWN,
    NgramModel,
    read_arpa,
    write_arpa,
)
from asr.lm.estimate import estimate
from asr.lm.provenance import NgramProvenance, sidecar, write_sidecar
from asr.tokens.normaliser import normalise

logger = logging.getLogger(__name__)

_UNKNOWN_LABEL = 1
# kenlm as packaged, which decoding reads the file with.
_MAX_ORDER = 6
_NO_WORDS = frozenset({SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, UNKNOWN.upper()})


def train_word_ngram(
    sentences: Iterable[str],
    out: Path,
    *,
    order: int,
    min_word_count: int = 1,
    more_words: Iterable[str] = (),
    min_counts: Sequence[int] | None = None,
    provenance: NgramProvenance | None = None,
    replace: bool = False,
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
        provenance: What the sentences were read from, to be written beside the model.
        replace: Whether the file may be there, which the new one then takes the place of.

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
    if out.exists() and not replace:
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
    # First, so that no model lies beside the provenance of another.
    sidecar(out).unlink(missing_ok=True)
    write_arpa(model, out)
    if provenance is not None:
        write_sidecar(out, provenance)
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


def is_kenlm_binary(path: Path) -> bool:
    """Whether a file is kenlm's binary; other language models over words are ARPA files."""
    with path.open("rb") as stream:
        return stream.read(len(BINARY_MAGIC)) == BINARY_MAGIC


def words_of_arpa(path: Path) -> dict[str, str]:
    """Find the words of a language model.

    Args:
        path: An ARPA file, plain or gzip-compressed.

    Returns:
        Each normalised form of one word, and the most probable word of that form.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or no ARPA file.
    """
    model = read_arpa(path, highest_order=1)
    best: dict[str, tuple[float, str]] = {}
    words = not_one_word = 0
    for word, log_prob in zip(model.words, model.orders[0].log_probs.tolist(), strict=True):
        if word in _NO_WORDS:
            continue
        words += 1
        text = normalise(word)
        if not text or " " in text:
            not_one_word += 1
        elif text not in best or log_prob > best[text][0]:
            best[text] = (log_prob, word)
    clashing = words - not_one_word - len(best)
    if clashing or not_one_word:
        logger.info(
            "%s: of %d words, %d are another form of a more probable one and %d are not one word",
            path,
            words,
            clashing,
            not_one_word,
        )
    return {text: word for text, (_, word) in best.items()}


def known_words(path: Path, words: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Find the forms that a language model has of words.

    kenlm's binary can be asked for the probability of a word, not whether it knows it, and not what
    words it has: asked for are words as given and in capital, small and title letters, and a word
    is known whose probability differs from the unknown word's.

    Args:
        path: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        words: Pairs of a normalised word and the same word as it was written.

    Returns:
        The most probable word of the language model by its normalised form; of an ARPA file all
        there are, of a binary those of `words` that it knows.

    Raises:
        FileNotFoundError: There is no such file, or the extra `lm` is not installed.
        ValueError: The file is damaged.
    """
    if not is_kenlm_binary(path):
        return words_of_arpa(path)
    forms: dict[str, list[str]] = {}
    for text, written in words:
        forms.setdefault(text, [text, text.lower(), text.title()]).append(written)
    asked = list(dict.fromkeys([UNKNOWN, *(form for each in forms.values() for form in each)]))
    scores = unigram_scores(load_word_lm(path, asked), len(asked))
    score_of = dict(zip(asked, scores, strict=True))
    known = {
        text: [form for form in each if score_of[form] != scores[0]] for text, each in forms.items()
    }
    return {text: max(each, key=score_of.__getitem__) for text, each in known.items() if each}


def word_log_probs(path: Path, texts: Sequence[str]) -> list[float]:
    """Score texts by a language model over words, each for itself.

    Args:
        path: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        texts: Normalised, words separated by single blanks.

    Returns:
        Natural log-probability of each text, its end included. A word that the model lacks has the
        probability of the unknown word.

    Raises:
        FileNotFoundError: There is no such file, or the extra `lm` is not installed.
        ValueError: The file is damaged, or knows no word of the texts.
    """
    words = sorted({word for text in texts for word in text.split()})
    known = known_words(path, [(word, word) for word in words])
    lacking = sum(word not in known for word in words)
    if words and lacking == len(words):
        raise ValueError(
            f"{path}: expected a language model that knows words of the texts, found none of their "
            f"{len(words)}; give one of their language, over words"
        )
    logger.info("%s: knows %d of %d words of the texts", path, len(words) - lacking, len(words))
    asked = list(dict.fromkeys([UNKNOWN, *(known[word] for word in words if word in known)]))
    places = {word: place for place, word in enumerate(asked)}
    place_of = {word: places[known.get(word, UNKNOWN)] for word in words}
    model = load_word_lm(path, asked)
    log_probs = []
    for text in texts:
        state, total = model.start(False), 0.0
        for word in text.split():
            state, score = model.score(state, place_of[word])
            total += score
        total += model.finish(state)[1]
        # kenlm's logarithms are to the base of 10.
        log_probs.append(math.log(10) * total)
    return log_probs
