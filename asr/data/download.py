"""Downloads that resume and are verified, and archives that are unpacked safely."""

import gzip
import hashlib
import http.client
import logging
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

logger = logging.getLogger(__name__)

DownloadProgress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that are there, and the bytes in all where known."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0
_USER_AGENT = "attune-asr"
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(OSError):
    """A download that failed; the message is one line and names the address."""


class ArchiveError(ValueError):
    """An archive that is damaged or unsafe; the message is one line and names the file."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a dropped connection is taken up again.

    Args:
        attempts: Attempts in a row that bring nothing new before giving up.
        backoff_seconds: Pause before the second attempt; doubles with each further one.
    """

    attempts: int = 6
    backoff_seconds: float = 1.0


class _DroppedError(Exception):
    """The connection broke in a way that another attempt may mend."""


def download_file(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    progress: DownloadProgress | None = None,
    retries: Retries | None = None,
) -> None:
    """Download a file, taking up what an earlier run left in `target` + `.part`.

    Args:
        url: Address, http or https.
        target: The file to make; it exists only once it is complete and verified.
        sha256: As in `verify_sha256`.
        progress: Told how far the download is.
        retries: How often to try again; None = the defaults of `Retries`.

    Raises:
        DownloadError: The server refuses, the connection keeps breaking, or the digest is wrong.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"expected an http or https address, found {url!r}; correct the mirror")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _fetch(url, part, progress=progress or (lambda *_: None), retries=retries or Retries())
    verify_sha256(part, sha256, source=url)
    part.replace(target)


def verify_sha256(path: Path, sha256: str | None, *, source: str | None = None) -> None:
    """Compare a file with its published digest.

    Args:
        path: The file; removed where the digest is wrong, so that the next run starts afresh.
        sha256: Digest in hexadecimal; None where none is published, which the log then says.
        source: Where the file is from, for the messages; None = its path.

    Raises:
        DownloadError: The digest is wrong.
    """
    name = source or str(path)
    if sha256 is None:
        logger.warning(
            "%s: no digest is published; only its size (%d bytes) and the integrity of the archive "
            "are checked",
            name,
            path.stat().st_size,
        )
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise DownloadError(
            f"{name}: expected sha256 {sha256}, found {found}; the file was removed, run again or "
            "choose another mirror"
        )
    logger.info("%s: sha256 %s verified", name, found)


def _fetch(url: str, part: Path, *, progress: DownloadProgress, retries: Retries) -> None:
    failures = 0
    best_bytes = part.stat().st_size if part.exists() else 0
    while True:
        try:
            _fetch_once(url, part, progress)
        except _DroppedError as error:
            there = part.stat().st_size if part.exists() else 0
            failures = 1 if there > best_bytes else failures + 1
            best_bytes = max(best_bytes, there)
            if failures >= retries.attempts:
                raise DownloadError(
                    f"{url}: expected the whole file, found a connection that broke {failures} "
                    f"times in a row ({error}); run again, it resumes after {there} bytes"
                ) from None
            pause_seconds = retries.backoff_seconds * 2 ** (failures - 1)
            logger.warning("%s: %s; trying again in %.1f s", url, error, pause_seconds)
            time.sleep(pause_seconds)
        else:
            return


def _fetch_once(url: str, part: Path, progress: DownloadProgress) -> None:
    there = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            there, total = _start_and_total(response, there)
            _receive(response, part, there=there, total=total, progress=progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and there:
            if error.headers.get("Content-Range") == f"bytes */{there}":
                return
            part.unlink()
            raise _DroppedError("the server has less than the part that is there") from None
        if error.code in _RETRIED_STATUS:
            raise _DroppedError(f"the server answered {error.code} {error.reason}") from None
        raise DownloadError(
            f"{url}: expected the file, found the answer {error.code} {error.reason}; check the "
            "address or choose another mirror"
        ) from None
    except urllib.error.URLError as error:
        raise _DroppedError(str(error.reason)) from None
    except http.client.HTTPException as error:
        raise _DroppedError(repr(error)) from None


def _start_and_total(response: http.client.HTTPResponse, there: int) -> tuple[int, int | None]:
    """The byte at which the answer starts, and the bytes of the whole file where known."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if match is None or int(match[1]) != there:
            raise _DroppedError(f"the server answered with the range {content_range!r}")
        return there, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    *,
    there: int,
    total: int | None,
    progress: DownloadProgress,
) -> None:
    name = part.name.removesuffix(".part")
    with part.open("ab" if there else "wb") as stream:
        while True:
            progress(name, there, total)
            # Only reading is tried again; what writing raises (a full disk) goes to the caller.
            try:
                chunk = response.read(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _DroppedError(
                    f"the connection broke after {there} bytes: {error!r}"
                ) from None
            if not chunk:
                break
            stream.write(chunk)
            there += len(chunk)
    if total is not None and there < total:
        raise _DroppedError(f"the connection closed after {there} of {total} bytes")
    if total is not None and there > total:
        part.unlink()
        raise _DroppedError(f"expected {total} bytes, found {there}")


def unpack_tar_gz(archive: Path, folder: Path) -> None:
    """Unpack an archive of regular files and folders, to its last byte.

    Args:
        archive: A gzip-compressed tar file.
        folder: Where to unpack; made if missing.

    Raises:
        ArchiveError: The archive is damaged or cut off, or a member would lie outside of `folder`
            or is neither a file nor a folder.
    """
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                _unpack_member(archive, tar, member, folder)
            # Only reading to the end makes gzip compare its checksum.
            while stream.read(_CHUNK_BYTES):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise ArchiveError(
            f"{archive}: expected an intact archive, found damage ({error}); download it again"
        ) from None


def _unpack_member(
    archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise ArchiveError(
            f"{archive}: expected files and folders inside the archive's own folder, found "
            f"{member.name!r}; do not use this archive"
        )
    path = folder / name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None, "regular files have content"
    with content, path.open("wb") as stream:
        shutil.copyfileobj(content, stream, _CHUNK_BYTES)
