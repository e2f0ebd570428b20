"""The words that may be recognised: a language model's own, or those of a lexicon file."""

import gzip
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from asr.tokens.normaliser import normalise
from asr.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_BINARY_MAGIC = b"mmap lm http://kheafield.com/code"
_GZIP_MAGIC = b"\x1f\x8b"
_WORD_COUNT = re.compile(r"ngram +1 *= *(\d+)")
_NO_WORDS = frozenset({"<s>", "</s>", "<unk>", "<UNK>"})


@dataclass(frozen=True, kw_only=True)
class LexiconWord:
    """A word that may be recognised.

    Args:
        text: The word as the transcript has it, normalised.
        lm_word: The same word as the language model writes it.
        spellings: Labels in 1 .. N of each spelling; one or more, each of at least one label.
    """

    text: str
    lm_word: str
    spellings: tuple[tuple[int, ...], ...]


def read_words(lm: Path, tokenizer: Tokenizer, *, lexicon: Path | None = None) -> list[LexiconWord]:
    """Find the words that both the language model knows and the recogniser can spell.

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
    known = _known_words(lm, has_lexicon=lexicon is not None)
    if lexicon is None:
        assert isinstance(known, _Vocabulary)
        source = lm
        entries: Iterable[tuple[str, tuple[int, ...] | None]] = ((text, None) for text in known)
    else:
        source = lexicon
        entries = _lexicon_entries(lexicon, tokenizer)
    return _spell(entries, known.find, tokenizer, source=source)


class _Vocabulary(dict[str, str]):
    """Normalised form to the word of an ARPA file."""

    def find(self, text: str) -> str | None:
        return self.get(text)


class _BinaryVocabulary:
    """The words of a binary language model: it can be asked for one, not listed."""

    def __init__(self, path: Path) -> None:
        try:
            import kenlm
        except ImportError:
            raise FileNotFoundError(
                f"expected the package kenlm to read {path}, found none; run: pip install "
                "'attune-asr[lm]'"
            ) from None
        try:
            self._model = kenlm.Model(str(path))
        except OSError as error:
            raise ValueError(broken_lm(path, error)) from None

    def find(self, text: str) -> str | None:
        return next((word for word in (text, text.lower()) if word in self._model), None)


def broken_lm(path: Path, error: Exception) -> str:
    """One line for what kenlm says of a file: the last line of its message has the reason."""
    return (
        f"{path}: expected a complete ARPA file or kenlm's binary, found: "
        f"{str(error).splitlines()[-1]}; download or build it again"
    )


def _known_words(path: Path, *, has_lexicon: bool) -> _Vocabulary | _BinaryVocabulary:
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a language model at {path}, found "
            f"{'a folder' if path.is_dir() else 'no file'}; give an ARPA file (.arpa, .arpa.gz) or "
            "kenlm's binary"
        )
    with path.open("rb") as stream:
        magic = stream.read(len(_BINARY_MAGIC))
    if magic != _BINARY_MAGIC:
        return _arpa_vocabulary(path)
    if not has_lexicon:
        raise ValueError(
            f"{path}: expected a lexicon beside kenlm's binary, which cannot list its words, found "
            "none; give one, or the ARPA file"
        )
    return _BinaryVocabulary(path)


def _arpa_vocabulary(path: Path) -> _Vocabulary:
    best: dict[str, tuple[float, str]] = {}
    words = not_one_word = 0
    for word, log10_probability in read_arpa_unigrams(path):
        words += 1
        text = normalise(word)
        if not text or " " in text:
            not_one_word += 1
        elif text not in best or log10_probability > best[text][0]:
            best[text] = (log10_probability, word)
    clashing = words - not_one_word - len(best)
    if clashing or not_one_word:
        logger.info(
            "%s: of %d words, %d are another form of a more probable one and %d are not one word",
            path,
            words,
            clashing,
            not_one_word,
        )
    return _Vocabulary({text: word for text, (_, word) in best.items()})


def read_arpa_unigrams(path: Path) -> Iterator[tuple[str, float]]:
    """Read the words of an ARPA file, without those for the bounds of a sentence and the unknown.

    Args:
        path: The file, plain or gzip-compressed.

    Yields:
        Word and log10 of its probability.

    Raises:
        ValueError: The file is no ARPA file, or ends within the words.
    """
    with _text_lines(path) as stream:
        first = next((line for line in stream if line.strip()), "")
        if first.strip() != "\\data\\":
            raise ValueError(
                f"{path}: expected an ARPA file, which begins with \\data\\, found "
                f"{first.strip()[:40]!r}; give an ARPA file (.arpa, .arpa.gz) or kenlm's binary"
            )
        expected = 0
        for line in stream:
            if match := _WORD_COUNT.match(line):
                expected = int(match[1])
            if line.strip() == "\\1-grams:":
                break
        found = 0
        for found, line in enumerate(islice(stream, expected), start=1):
            fields = line.split()
            try:
                log10_probability, word = float(fields[0]), fields[1]
            except (ValueError, IndexError):
                raise ValueError(
                    f"{path}: expected log-probability and word, found {line.strip()[:40]!r} as "
                    f"word {found} of {expected}; download or build it again"
                ) from None
            if word not in _NO_WORDS:
                yield word, log10_probability
        if found < expected or expected == 0:
            raise ValueError(
                f"{path}: expected a complete ARPA file, found {found} of {expected} words; "
                "download or build it again"
            )


@contextmanager
def _text_lines(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if compressed
            else path.open(encoding="utf-8") as stream
        ):
            yield stream
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, found {error.reason}; convert it") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected intact gzip, found damage ({error}); download it again"
        ) from None


def _lexicon_entries(
    path: Path, tokenizer: Tokenizer
) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Normalised form and spelling; None where the tokenizer is to spell it."""
    if not path.is_file():
        raise FileNotFoundError(f"expected a lexicon at {path}, found no file; give a text file")
    labels = {piece: index for index, piece in enumerate(tokenizer.pieces, start=1)}
    with _text_lines(path) as stream:
        for number, line in enumerate(stream, start=1):
            word, *pieces = line.split() or [""]
            unknown = [piece for piece in pieces if piece not in labels]
            if unknown:
                raise ValueError(
                    f"{path}, line {number}: expected a word and token pieces of the recogniser, "
                    f"found {unknown[0]!r}; correct the spelling or leave the word alone"
                )
            if word:
                yield normalise(word), tuple(labels[piece] for piece in pieces) or None


def _spell(
    entries: Iterable[tuple[str, tuple[int, ...] | None]],
    find: Callable[[str], str | None],
    tokenizer: Tokenizer,
    *,
    source: Path,
) -> list[LexiconWord]:
    spellings: dict[str, dict[tuple[int, ...], None]] = {}
    lm_words: dict[str, str] = {}
    unspelled, unknown = set(), set()
    for text, spelling in entries:
        lm_word = find(text) if text and " " not in text else None
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
