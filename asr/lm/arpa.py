"""ARPA files: n-grams with their log-probabilities and back-off weights, plain or gzipped."""

import gzip
import math
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from asr.files import whole_or_absent

SENTENCE_BEGIN = "<s>"
SENTENCE_END = "</s>"
UNKNOWN = "<unk>"

NEVER_LOG10 = -99.0
"""What a file says of words that are never predicted, such as `<s>`."""

_LN10 = math.log(10.0)
_LINES_AT_A_TIME = 1 << 16


class ArpaError(ValueError):
    """A file that is no usable ARPA file; the message is one line and names the file."""


@dataclass(frozen=True, kw_only=True)
class NgramOrder:
    """The n-grams of one order n.

    Args:
        grams: (ngram, n) int32, places in the model's words, first word first.
        log_probs: (ngram,) float32, natural logarithm of the last word's probability given those
            before it.
        backoffs: (ngram,) float32, natural logarithm of the weight with which the n-gram, as a
            context, backs off; 0 at the highest order.
    """

    grams: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class NgramModel:
    """A back-off model.

    Args:
        words: The vocabulary, each word a 1-gram; `<s>` and `</s>` are among them.
        orders: The n-grams of order 1, 2, ...
    """

    words: Sequence[str]
    orders: Sequence[NgramOrder]


def read_arpa(path: Path, *, highest_order: int | None = None) -> NgramModel:
    """Read an ARPA file line by line; only numbers are kept.

    Args:
        path: The file; gzipped if its name ends in `.gz`.
        highest_order: Read the n-grams up to this order, and nothing behind them; None: all.

    Returns:
        The model, words and n-grams in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ArpaError: The file is none of this format, truncated or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected an ARPA file at {path}, found no file; check the path")
    try:
        with _open(path, "rb", gzipped=_is_gzipped(path)) as stream:
            return _Reader(stream, path).read(highest_order)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArpaError(
            f"{path}: expected a whole gzipped file, found: {error}; copy or make it anew"
        ) from None


def write_arpa(model: NgramModel, path: Path) -> None:
    """Write an ARPA file atomically.

    Args:
        model: The model.
        path: The file; gzipped if its name ends in `.gz`.
    """
    with whole_or_absent(path) as part, _open(part, "wb", gzipped=_is_gzipped(path)) as stream:
        stream.write(b"\\data\\\n")
        for n, order in enumerate(model.orders, start=1):
            stream.write(f"ngram {n}={len(order.grams)}\n".encode())
        words = np.array(model.words, dtype=object)
        for n, order in enumerate(model.orders, start=1):
            stream.write(f"\n\\{n}-grams:\n".encode())
            for start in range(0, len(order.grams), _LINES_AT_A_TIME):
                rows = slice(start, start + _LINES_AT_A_TIME)
                columns: list[Iterator[str] | list[float]] = [
                    cast(list[float], (order.log_probs[rows].astype(np.float64) / _LN10).tolist()),
                    map(" ".join, words[order.grams[rows]].tolist()),
                ]
                line = "%.7f\t%s\n"
                if n < len(model.orders):
                    line = "%.7f\t%s\t%.7f\n"
                    columns.append((order.backoffs[rows].astype(np.float64) / _LN10).tolist())
                stream.write("".join(map(line.__mod__, zip(*columns, strict=True))).encode())
        stream.write(b"\n\\end\\\n")


def _is_gzipped(path: Path) -> bool:
    return path.suffix == ".gz"


def _open(path: Path, mode: str, *, gzipped: bool) -> BinaryIO:
    if gzipped:
        return cast(BinaryIO, gzip.open(path, mode, compresslevel=6))
    return cast(BinaryIO, path.open(mode))


class _Reader:
    """Reads one file.

    Args:
        stream: Its content.
        path: Its name, for messages.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._path = path
        self._line = 0
        self._fields = self._split(stream)
        self._words: dict[bytes, int] = {}

    def read(self, highest_order: int | None) -> NgramModel:
        first = next(self._fields, [])
        if first != [b"\\data\\"]:
            raise self._error("expected an ARPA file, whose first line is \\data\\", first)
        counts, heading = self._read_counts()
        orders: list[NgramOrder] = []
        for n, count in enumerate(counts, start=1):
            if heading != [b"\\%d-grams:" % n]:
                raise self._error(f"expected the heading \\{n}-grams:", heading)
            if len(orders) == highest_order:
                break
            orders.append(self._read_order(n, count, highest=n == len(counts)))
            heading = next(self._fields, [])
        else:
            if heading != [b"\\end\\"]:
                raise self._error(
                    f"expected \\end\\ after the {counts[-1]} {len(counts)}-grams of the header",
                    heading,
                )
        try:
            words = [word.decode() for word in self._words]
        except UnicodeDecodeError as error:
            raise ArpaError(
                f"{self._path}: expected words in UTF-8, found: {error}; make the file anew"
            ) from None
        return NgramModel(words=words, orders=orders)

    def _split(self, stream: BinaryIO) -> Iterator[list[bytes]]:
        """The fields of each line that has any; splits at ASCII white space, as kenlm does."""
        for line in stream:
            self._line += 1
            fields = line.split()
            if fields:
                yield fields

    def _read_counts(self) -> tuple[list[int], list[bytes]]:
        counts: list[int] = []
        for fields in self._fields:
            if fields[0] != b"ngram":
                if not counts:
                    raise self._error("expected `ngram 1=COUNT`", fields)
                return counts, fields
            n, _, count = b"".join(fields[1:]).partition(b"=")
            if n != b"%d" % (len(counts) + 1) or not count.isdigit() or int(count) == 0:
                raise self._error(
                    f"expected `ngram {len(counts) + 1}=COUNT`, COUNT above 0", fields
                )
            counts.append(int(count))
        raise self._error("expected the heading \\1-grams:", [])

    def _read_order(self, n: int, count: int, *, highest: bool) -> NgramOrder:
        grams, log10_probs, log10_backoffs = array("i"), array("f"), array("f")
        words = self._words
        for fields in islice(self._fields, count):
            if len(fields) == n + 2 and not highest:
                backoff = fields[-1]
            elif len(fields) == n + 1:
                backoff = b"0"
            else:
                raise self._ngram_error(n, count, found=len(log10_probs), fields=fields)
            gram = fields[1 : n + 1]
            if n == 1:
                if gram[0] in words:
                    raise self._error("expected each word once", fields)
                words[gram[0]] = len(words)
            try:
                grams.extend([words[word] for word in gram])
                log10_probs.append(float(fields[0]))
                log10_backoffs.append(float(backoff))
            except KeyError:
                raise self._error("expected words that are among the 1-grams", fields) from None
            except ValueError:
                found = len(log10_probs)
                raise self._ngram_error(n, count, found=found, fields=fields) from None
            if not -math.inf < log10_probs[-1] <= 0 or not math.isfinite(log10_backoffs[-1]):
                raise self._error(
                    "expected log10 of a probability and of a back-off weight", fields
                )
        if len(log10_probs) < count:
            raise self._ngram_error(n, count, found=len(log10_probs), fields=[])
        return NgramOrder(
            grams=np.frombuffer(grams, dtype=np.int32).reshape(-1, n),
            log_probs=np.frombuffer(log10_probs, dtype=np.float32) * np.float32(_LN10),
            backoffs=np.frombuffer(log10_backoffs, dtype=np.float32) * np.float32(_LN10),
        )

    def _ngram_error(self, n: int, count: int, *, found: int, fields: list[bytes]) -> ArpaError:
        if not fields or fields[0].startswith(b"\\"):
            return self._error(
                f"expected another {n}-gram ({found} of the header's {count} are there)", fields
            )
        return self._error(f"expected log10 probability, {n} words and log10 weight", fields)

    def _error(self, expected: str, fields: list[bytes]) -> ArpaError:
        text = b" ".join(fields)[:80].decode(errors="replace")
        found = f"found {text!r}" if fields else "found the end of the file"
        return ArpaError(f"{self._path}:{self._line}: {expected}, {found}; make or copy it anew")
