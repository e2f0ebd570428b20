"""LibriSpeech's language models, word lists and text (OpenSLR 11): fetched, checked, unpacked."""

import gzip
import logging
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asr.data.download import ArchiveError, DownloadProgress, Retries, download_file
from asr.files import whole_or_absent

logger = logging.getLogger(__name__)

_URL = "https://www.openslr.org/resources/11/"
FILES = (
    "3-gram.arpa.gz",
    "3-gram.pruned.1e-7.arpa.gz",
    "3-gram.pruned.3e-7.arpa.gz",
    "4-gram.arpa.gz",
    "librispeech-lexicon.txt",
    "librispeech-vocab.txt",
    "librispeech-lm-norm.txt.gz",
)
"""What is published there; no digest is."""

_ARPA_SUFFIX = ".arpa.gz"
_COUNT = re.compile(rb"ngram +\d+ *= *(\d+)")


@dataclass(frozen=True, kw_only=True)
class LmFile:
    """A file that is ready to be used.

    Args:
        path: The file.
        contents: What is in it, for people.
    """

    path: Path
    contents: str


def download(
    root: Path,
    *,
    files: Sequence[str],
    mirror: str | None = None,
    progress: DownloadProgress | None = None,
    retries: Retries | None = None,
) -> None:
    """Download the files that are not there yet.

    Args:
        root: Their folder; made where missing.
        files: Names among `FILES`.
        mirror: Base address to use instead of the official one.
        progress: Told how far each download is.
        retries: How often to try again after a dropped connection.

    Raises:
        ValueError: A name is unknown.
        DownloadError: A download fails.
    """
    unknown = [name for name in files if name not in FILES]
    if unknown:
        raise ValueError(
            f"expected files among {', '.join(FILES)}, found {', '.join(unknown)}; only these can "
            "be downloaded"
        )
    for name in files:
        if (root / name).is_file():
            logger.info("%s is there already", root / name)
            continue
        download_file(
            f"{(mirror or _URL).rstrip('/')}/{name}",
            root / name,
            sha256=None,
            progress=progress,
            retries=retries,
        )


def prepare(root: Path, out: Path, *, files: Sequence[str] | None) -> Iterator[LmFile]:
    """Check files and put them into a folder: language models unpacked, all others as they are.

    Nothing tells that a file is what was published; but a gzip checksum that differs, a language
    model without its first or last line or with another number of n-grams than it announces, and an
    empty file are found.

    Args:
        root: Folder of the files.
        out: Folder to write; each file in it is either whole or not there.
        files: Names; None = all of `FILES` that are there.

    Yields:
        What was written, file by file.

    Raises:
        FileNotFoundError: Not every file asked for is there, or there is none.
        ArchiveError: A file is damaged or is not what its name says.
    """
    found = [name for name in FILES if (root / name).is_file()]
    missing = [name for name in files or () if not (root / name).is_file()]
    if missing or not (files or found):
        raise FileNotFoundError(
            f"expected {', '.join(missing) or 'language models'} in {root}, found "
            f"{', '.join(found) or 'none'}; check --root and --files or add --download"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in files or found:
        yield _put(root / name, out)


def _put(source: Path, out: Path) -> LmFile:
    unpacked = source.name.endswith(_ARPA_SUFFIX)
    target = out / (source.name.removesuffix(".gz") if unpacked else source.name)
    with whole_or_absent(target) as part, _intact(source) as stream:
        if unpacked:
            contents = _unpack_arpa(source, stream, part)
        else:
            lines = sum(1 for line in stream if line.strip())
            if not lines:
                raise _damaged(source, "no line")
            contents = f"{lines} lines"
            shutil.copyfile(source, part)
    return LmFile(path=target, contents=contents)


@contextmanager
def _intact(path: Path) -> Iterator[Iterable[bytes]]:
    """The lines; reading them to the end compares gzip's checksum."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as unzipped:
                yield unzipped
        else:
            with path.open("rb") as stream:
                yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from None


def _unpack_arpa(source: Path, stream: Iterable[bytes], target: Path) -> str:
    """Write the language model; its order and size."""
    announced: list[int] = []
    grams = 0
    first = last = b""
    with target.open("wb") as unpacked:
        for line in stream:
            unpacked.write(line)
            if not line.strip():
                continue
            last = line.strip()
            first = first or last
            if first != b"\\data\\":
                break
            if match := _COUNT.match(line):
                announced.append(int(match[1]))
            elif not line.startswith(b"\\"):
                grams += 1
    if first != b"\\data\\":
        raise _damaged(source, f"{_shown(first)} in place of \\data\\")
    if last != b"\\end\\" or grams != sum(announced) or not announced:
        raise _damaged(source, f"{grams} of {sum(announced)} n-grams and {_shown(last)} at the end")
    return f"order {len(announced)}, {announced[0]} words, {grams} n-grams"


def _shown(line: bytes) -> str:
    return repr(line[:40].decode(errors="replace"))


def _damaged(path: Path, found: str) -> ArchiveError:
    kind = "language model" if path.name.endswith(_ARPA_SUFFIX) else "file"
    return ArchiveError(
        f"{path}: expected an intact {kind}, found {found}; remove it and download it again"
    )
