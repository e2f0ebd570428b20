"""Lexicon of a word search: the words that may be found, and their spellings in token pieces."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr.data.text_corpus import text_lines
from asr.lm.word_level import is_kenlm_binary, known_words, words_of_arpa
from asr.tokens.normaliser import normalise
from asr.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


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
    if lexicon is not None:
        entries = list(_lexicon_entries(lexicon, tokenizer))
        known = known_words(lm, [(entry.text, entry.written) for entry in entries])
    elif is_kenlm_binary(lm):
        raise ValueError(
            f"{lm}: expected a lexicon beside kenlm's binary, which cannot list its words, found "
            "none; give one, or the ARPA file"
        )
    else:
        known = words_of_arpa(lm)
        entries = [_Entry(text, written, None) for text, written in known.items()]
    return _spell(entries, known, tokenizer, source=lexicon or lm)


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
