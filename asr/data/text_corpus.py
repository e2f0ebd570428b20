"""Text corpus of language models: sentences of text files or manifests as labels."""

import gzip
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest import read_manifest
from asr.tokens.normaliser import normalise
from asr.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TextCorpus:
    """Sentences as labels.

    Args:
        sentences: Tensors (token,) of labels 1 .. N.
        words: Words of these sentences.
        left_out: Sentences that are not here, as the tokenizer lacks characters of theirs.
        out_of_vocabulary_words: Words with such a character.
        unknown_characters: These characters.
    """

    sentences: list[NDArray[np.int32]]
    words: int
    left_out: int
    out_of_vocabulary_words: int
    unknown_characters: frozenset[str]

    @property
    def tokens(self) -> int:
        """Tokens of these sentences, without their ends."""
        return sum(map(len, self.sentences))


def read_text_corpus(paths: Iterable[Path], tokenizer: Tokenizer) -> TextCorpus:
    """Read text, normalised by the tokenizer; lines without words are passed over.

    A warning says how many sentences are left out.

    Args:
        paths: Text files in UTF-8, one sentence a line, gzipped if their names end in `.gz`; or
            manifests (`.jsonl`), whose transcripts are taken.
        tokenizer: Gives the labels.

    Returns:
        The sentences, in the order of the files.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is not in UTF-8, or damaged, or a manifest is broken.
    """
    sentences: list[NDArray[np.int32]] = []
    words = left_out = out_of_vocabulary_words = 0
    unknown_characters: set[str] = set()
    for text in normalised_sentences(paths):
        unknown = tokenizer.unknown_characters(text)
        if unknown:
            left_out += 1
            out_of_vocabulary_words += sum(not unknown.isdisjoint(word) for word in text.split())
            unknown_characters |= unknown
        else:
            words += text.count(" ") + 1
            sentences.append(np.array(tokenizer.encode(text), dtype=np.int32))
    if left_out:
        logger.warning(
            "%d of %d sentences are left out: the tokenizer lacks %s",
            left_out,
            left_out + len(sentences),
            " ".join(sorted(unknown_characters)),
        )
    return TextCorpus(
        sentences=sentences,
        words=words,
        left_out=left_out,
        out_of_vocabulary_words=out_of_vocabulary_words,
        unknown_characters=frozenset(unknown_characters),
    )


def normalised_sentences(paths: Iterable[Path]) -> Iterator[str]:
    """Read text; arguments and errors as in `read_text_corpus`.

    Yields:
        Each sentence that has words, normalised.
    """
    for line in chain.from_iterable(map(_sentences, paths)):
        text = normalise(line)
        if text:
            yield text


def text_lines(path: Path) -> Iterator[str]:
    """Read a text file.

    Args:
        path: In UTF-8, gzipped if its name ends in `.gz`.

    Yields:
        Each line, with its end.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not in UTF-8, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected text at {path}, found no file; check the path")
    # Bytes, so that a line in another encoding is named.
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            for number, line in enumerate(stream, start=1):
                where = f"{path}:{number}"
                yield line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where}: expected text in UTF-8, found: {error}; convert the file"
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path}: expected a whole gzipped file, found: {error}; copy it anew"
            ) from None


def _sentences(path: Path) -> Iterator[str]:
    if path.suffix == ".jsonl":
        return (utterance.text or "" for utterance in read_manifest(path))
    return text_lines(path)
