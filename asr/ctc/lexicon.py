"""Lexicon of a word search: the words that may be found, and their spellings in token pieces."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr.data.text_corpus import text_lines
from asr.lm.arpa import SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, read_arpa
from asr.lm.word_level import BINARY_MAGIC, load_word_lm, unigram_scores
from asr.tokens.normaliser import normalise
from asr.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_NO_WORDS = frozenset({SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, UNKNOWN.upper()})


class _Entry(NamedTuple):
    """A word, normalised and as written, and its spelling; None: the tokenizer is to spell it."""

    text: str
    written: str
    spelling: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class LexiconWord:
    """Entry of the lexicon: a word that may be found.

    Args:
        text: The word as the transcript has it, normalised.
        lm_word: The same word as the language model writes it.
        spellings: Labels in 1 .. N of each spelling; one or more, each of at least one label.
    """

    text: str
    lm_word: str
    spellings: tuple[tuple[int, ...], ...]


def read_words(lm: Path, tokenizer: Tokenizer, *, lexicon: Path | None = None) -> list[LexiconWord]:
    """Read the lexicon: the words that the language model knows and the recogniser can spell.

    Words meet in their normalised form. Where the language model has several of the same form, such
    as `Don't` and `DON'T`, the most probable stands for all. Words are left out, and counted in the
    log, where their form is not one word, the tokenizer lacks a character of them or the language
    model does not know them.

    Args:
        lm: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        tokenizer: Spells the words, each in its best segmentation.
        lexicon: Words to use instead of the language model's own: one a line, after it optionally
            its spelling in token pieces; several lines of one word are several spellings.

    Returns:
        The words, each once.

    Raises:
        FileNotFoundError: A file is missing, or the extra `lm` is not installed.
        ValueError: A file is damaged or is none of its kind, no word is left, or a binary language
            model comes without a lexicon.
    """
    if not lm.is_file():
        raise FileNotFoundError(
            f"expected a language model at {lm}, found "
            f"{'a folder' if lm.is_dir() else 'no file'}; give an ARPA file (.arpa, .arpa.gz) or "
            "kenlm's binary"
        )
    with lm.open("rb") as stream:
        is_binary = stream.read(len(BINARY_MAGIC)) == BINARY_MAGIC
    if lexicon is not None:
        entries = list(_lexicon_entries(lexicon, tokenizer))
        known = _words_of_binary(lm, entries) if is_binary else words_of_arpa(lm)
    elif is_binary:
        raise ValueError(
            f"{lm}: expected a lexicon beside kenlm's binary, which cannot list its words, found "
            "none; give one, or the ARPA file"
        )
    else:
        known = words_of_arpa(lm)
        entries = [_Entry(text, written, None) for text, written in known.items()]
    return _spell(entries, known, tokenizer, source=lexicon or lm)


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


def _words_of_binary(path: Path, entries: Sequence[_Entry]) -> dict[str, str]:
    """Each normalised form that the language model knows, and the most probable word of that form.

    It can be asked for the probability of a word, not whether it knows it, and not what words it
    has: asked for are words as the lexicon writes them and in capital, small and title letters, and
    a word is known whose probability differs from the unknown word's.
    """
    forms: dict[str, list[str]] = {}
    for text, written, _ in entries:
        forms.setdefault(text, [text, text.lower(), text.title()]).append(written)
    words = list(dict.fromkeys([UNKNOWN, *(word for each in forms.values() for word in each)]))
    scores = unigram_scores(load_word_lm(path, words), len(words))
    score_of = dict(zip(words, scores, strict=True))
    known = {
        text: [word for word in each if score_of[word] != scores[0]] for text, each in forms.items()
    }
    return {text: max(each, key=score_of.__getitem__) for text, each in known.items() if each}


def _lexicon_entries(path: Path, tokenizer: Tokenizer) -> Iterator[_Entry]:
    if not path.is_file():
        raise FileNotFoundError(f"expected a lexicon at {path}, found no file; give a text file")
    labels = {piece: index for index, piece in enumerate(tokenizer.pieces, start=1)}
    for number, line in enumerate(text_lines(path), start=1):
        word, *pieces = line.split() or [""]
        unknown = [piece for piece in pieces if piece not in labels]
        if unknown:
            raise ValueError(
                f"{path}, line {number}: expected a word and token pieces of the recogniser, "
                f"found {unknown[0]!r}; correct the spelling or leave the word alone"
            )
        if word:
            yield _Entry(normalise(word), word, tuple(labels[piece] for piece in pieces) or None)


def _spell(
    entries: Iterable[_Entry],
    known: Mapping[str, str],
    tokenizer: Tokenizer,
    *,
    source: Path,
) -> list[LexiconWord]:
    spellings: dict[str, dict[tuple[int, ...], None]] = {}
    lm_words: dict[str, str] = {}
    unspelled, unknown = set(), set()
    for text, _, spelling in entries:
        lm_word = known.get(text) if " " not in text else None
        if lm_word is None:
            unknown.add(text)
        elif spelling is None and tokenizer.unknown_characters(text):
            unspelled.add(text)
        else:
            lm_words[text] = lm_word
            labels = spelling or tuple(tokenizer.encode(text))
            spellings.setdefault(text, {})[labels] = None
    counts = (
        f"{len(unspelled)} that the tokenizer cannot spell and {len(unknown)} that the language "
        "model does not know"
    )
    if not spellings:
        raise ValueError(
            f"{source}: expected words that the tokenizer can spell and the language model knows, "
            f"found {counts}; give a lexicon and a language model of the recogniser's language"
        )
    logger.info("%s: %d words, left out %s", source, len(spellings), counts)
    return [
        LexiconWord(text=text, lm_word=lm_words[text], spellings=tuple(found))
        for text, found in spellings.items()
    ]
