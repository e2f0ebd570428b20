import gzip
import hashlib
import http.server
import io
import logging
import re
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.data.download import (
    ArchiveError,
    DownloadError,
    Retries,
    download_file,
    unpack_tar_gz,
    verify_sha256,
)

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Retries(attempts=3, backoff_seconds=0.001)


class Server(http.server.ThreadingHTTPServer):
    """Serves one file and misbehaves as told."""

    content = CONTENT
    ranges = True
    drop_after_bytes: int | None = None
    drops_left = 0
    status_left: list[int]
    requests: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.content
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        if self.server.status_left:
            self.send_error(self.server.status_left.pop(0))
            return
        start = 0
        if wanted and self.server.ranges:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match is not None
            start = int(match[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.drops_left:
            self.server.drops_left -= 1
            body = body[: self.server.drop_after_bytes]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.status_left = []
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(
    server: Server, target: Path, sha256: str | None = DIGEST
) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    download_file(
        f"http://127.0.0.1:{server.server_port}/{target.name}",
        target,
        sha256=sha256,
        progress=lambda _, done, total: seen.append((done, total)),
        retries=QUICK,
    )
    return seen


def test_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen = fetch(server, tmp_path / "deep" / "file.bin")
    assert (tmp_path / "deep" / "file.bin").read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.bin"]


def test_dropped_connections_are_resumed(server: Server, tmp_path: Path) -> None:
    server.drop_after_bytes, server.drops_left = 100_000, 5
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [
        None, "bytes=100000-", "bytes=200000-", "bytes=300000-", "bytes=400000-", "bytes=500000-",
    ]  # fmt: skip


def test_part_of_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    seen = fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]
    assert seen[0] == (1000, len(CONTENT))


@pytest.mark.parametrize("extra", [b"", b"too long"])
def test_part_that_has_all_or_too_much(server: Server, tmp_path: Path, extra: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + extra)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.requests) == (2 if extra else 1)


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drop_after_bytes, server.drops_left = 100_000, 2
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_connection_that_never_holds_is_given_up_and_keeps_its_part(
    server: Server, tmp_path: Path, ranges: bool
) -> None:
    server.ranges = ranges
    server.drop_after_bytes, server.drops_left = 0 if ranges else 5000, 1000
    with pytest.raises(DownloadError, match=r"file\.bin: expected the whole file.*broke 3 times"):
        fetch(server, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()
    assert (tmp_path / "file.bin.part").exists()
    assert len(server.requests) <= 4


def test_wrong_digest_removes_the_file_and_the_next_run_starts_afresh(
    server: Server, tmp_path: Path
) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=f"expected sha256 {DIGEST}, found"):
        fetch(server, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    fetch(server, tmp_path / "file.bin")
    assert server.requests == [None, None]


def test_missing_file_is_an_error_at_once(server: Server, tmp_path: Path) -> None:
    server.status_left = [404, 404]
    with pytest.raises(DownloadError, match="found the answer 404"):
        fetch(server, tmp_path / "file.bin")
    assert len(server.requests) == 1


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status_left = [503, 500]
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="broke 3 times"):
        fetch(server, tmp_path / "file.bin")


def test_only_http_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected an http or https address"):
        download_file("file:///etc/hostname", tmp_path / "a", sha256=None)


def test_without_a_digest_the_log_says_so(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(server, tmp_path / "file.bin", sha256=None)
    assert "no digest is published" in caplog.text
    with caplog.at_level(logging.INFO):
        verify_sha256(tmp_path / "file.bin", DIGEST)
    assert f"sha256 {DIGEST} verified" in caplog.text


def make_tar_gz(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_archive_is_unpacked(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("corpus/empty")
    folder.type = tarfile.DIRTYPE
    members = [(tarfile.TarInfo("./corpus/a.txt"), b"hello"), (folder, b"")]
    unpack_tar_gz(make_tar_gz(tmp_path / "a.tar.gz", members), tmp_path / "out")
    assert (tmp_path / "out" / "corpus" / "a.txt").read_bytes() == b"hello"
    assert (tmp_path / "out" / "corpus" / "empty").is_dir()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = make_tar_gz(tmp_path / "a.tar.gz", [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(ArchiveError, match="inside the archive's own folder"):
        unpack_tar_gz(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "../secret"
    archive = make_tar_gz(tmp_path / "a.tar.gz", [(member, b"")])
    with pytest.raises(ArchiveError, match="found 'link'"):
        unpack_tar_gz(archive, tmp_path / "out")


def damaged_archives() -> dict[str, bytes]:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        member = tarfile.TarInfo("a.bin")
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    whole = gzip.compress(plain.getvalue(), mtime=0)
    return {
        "cut": whole[: len(whole) // 2],
        "cut before the checksum": whole[:-6],
        "wrong checksum": whole[:-8] + bytes(4) + whole[-4:],
        "no gzip": plain.getvalue(),
        "no tar": gzip.compress(b"text" * 1000),
        "cut tar": gzip.compress(plain.getvalue()[:5000]),
    }


@pytest.mark.parametrize("kind", damaged_archives())
def test_damaged_archive_is_refused(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(damaged_archives()[kind])
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: expected an intact archive"):
        unpack_tar_gz(archive, tmp_path / "out")
