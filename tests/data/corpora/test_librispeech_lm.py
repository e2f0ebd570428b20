import gzip
import logging
from pathlib import Path

import pytest

from asr.data.corpora import librispeech_lm
from asr.data.download import ArchiveError, DownloadError, Retries

QUICK = Retries(attempts=2, backoff_seconds=0.001)
ARPA = b"""
\\data\\
ngram 1=3
ngram 2=2

\\1-grams:
-1.0\t<s>\t-0.5
-1.0\t</s>
-1.0\tA\t-0.5

\\2-grams:
-0.5\t<s> A
-0.5\tA </s>

\\end\\
"""
NAME = "3-gram.pruned.1e-7.arpa.gz"


def compressed(content: bytes) -> bytes:
    """Without the time of day: every worker must name its parametrised tests alike."""
    return gzip.compress(content, mtime=0)


def prepare(root: Path, out: Path, files: list[str] | None = None) -> list[tuple[str, str]]:
    return [
        (item.path.name, item.contents) for item in librispeech_lm.prepare(root, out, files=files)
    ]


def test_files_are_downloaded_once_checked_and_unpacked(
    mirror: str, served: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    www = tmp_path / "www"
    (www / NAME).write_bytes(compressed(ARPA))
    (www / "librispeech-vocab.txt").write_text("A\n\nB\n")
    (www / "librispeech-lm-norm.txt.gz").write_bytes(compressed(b"A B\nB A\nA\n"))
    names = [NAME, "librispeech-lm-norm.txt.gz", "librispeech-vocab.txt"]
    root, out = tmp_path / "data", tmp_path / "out"
    for _ in range(2):
        librispeech_lm.download(root, files=names, mirror=mirror, retries=QUICK)
    assert served == [f"/{name}" for name in names]
    assert "no digest is published" in caplog.text
    assert sorted(path.name for path in root.iterdir()) == names
    expected = [
        ("3-gram.pruned.1e-7.arpa", "order 2, 3 words, 5 n-grams"),
        ("librispeech-vocab.txt", "2 lines"),
        ("librispeech-lm-norm.txt.gz", "3 lines"),
    ]
    assert prepare(root, out) == expected
    assert (out / "3-gram.pruned.1e-7.arpa").read_bytes() == ARPA
    assert (out / names[1]).read_bytes() == (root / names[1]).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == sorted(name for name, _ in expected)
    assert prepare(root, out, ["librispeech-vocab.txt"]) == expected[1:2]


def test_second_run_logs_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_bytes(compressed(ARPA))
    with caplog.at_level(logging.INFO):
        librispeech_lm.download(tmp_path, files=[NAME], mirror="http://127.0.0.1:9/")
    assert f"{NAME} is there already" in caplog.text


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (compressed(ARPA)[:-12], "found Compressed file ended"),
        (compressed(ARPA)[:-8] + bytes(8), "found CRC check failed"),
        (ARPA, "found Not a gzipped file"),
        (compressed(b""), r"found '' in place of \\data\\"),
        (compressed(b"<html>\nnot here"), r"found '<html>' in place of \\data\\"),
        (compressed(ARPA.replace(b"\\end\\", b"")), "5 of 5 n-grams and '-0.5.tA </s>' at the"),
        (compressed(ARPA.replace(b"-0.5\t<s> A\n", b"")), "found 4 of 5 n-grams"),
        (compressed(b"\\data\\\n\\end\\\n"), "found 0 of 0 n-grams"),
    ],
)
def test_damaged_language_model(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ArchiveError, match=f"{NAME}: expected an intact language model, .*{found}"):
        prepare(tmp_path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("librispeech-lexicon.txt", b"\n\n", "found no line"),
        ("librispeech-lm-norm.txt.gz", compressed(b"A\n")[:-9], "found Compressed file ended"),
    ],
)
def test_damaged_text(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchiveError, match=f"{name}: expected an intact file, {found}"):
        prepare(tmp_path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_files_name_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected language models in .*, found none"):
        prepare(tmp_path, tmp_path / "out")
    (tmp_path / NAME).write_bytes(compressed(ARPA))
    with pytest.raises(FileNotFoundError, match=r"expected 4-gram.arpa.gz in .*found 3-gram.prun"):
        prepare(tmp_path, tmp_path / "out", [NAME, "4-gram.arpa.gz"])
    assert not (tmp_path / "out").exists()


def test_only_known_files_are_downloaded(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected files among 3-gram.arpa.gz, .*found 5-gram"):
        librispeech_lm.download(tmp_path, files=["5-gram.arpa.gz"], mirror=mirror)
    with pytest.raises(DownloadError, match="found the answer 404"):
        librispeech_lm.download(tmp_path, files=[NAME], mirror=mirror, retries=QUICK)
