from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.corpora import folder
from asr.data.manifest import read_manifest
from asr.data.validation import ManifestReport


def add(path: Path, text: str | bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(1600, 0.1), 16000)
    if text is not None:
        content = text.encode() if isinstance(text, str) else text
        path.with_suffix(".txt").write_bytes(content)


def prepare(root: Path, *, skip_broken: bool = False) -> ManifestReport:
    return folder.prepare(root / "in", root / "out", name="mine", skip_broken=skip_broken, jobs=1)


def test_audio_beside_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tmp_path / "in" / "b.wav", "\ufeffhello\n  there \n")
    add(tmp_path / "in" / "sub" / "a.FLAC", "")
    (tmp_path / "in" / "README.txt").write_text("about this folder")
    report = prepare(tmp_path)
    assert report.manifest is not None
    utterances = read_manifest(report.manifest)
    assert [(item.id, item.text) for item in utterances] == [("b", "hello there"), ("sub/a", "")]
    assert report.empty_transcripts == 1
    assert "1 .txt files without audio" in caplog.text


def test_missing_or_unreadable_text_and_a_clash_of_names_are_broken(tmp_path: Path) -> None:
    add(tmp_path / "in" / "a.wav", "good")
    add(tmp_path / "in" / "a.flac", None)
    add(tmp_path / "in" / "b.wav", None)
    add(tmp_path / "in" / "c.wav", b"caf\xe9")
    report = prepare(tmp_path)
    assert report.manifest is None
    assert [item.id for item in report.broken] == ["a", "b", "c"]
    assert "a.wav: expected a unique id, found 'a' also for" in report.broken[0].reason
    assert "expected the transcript b.txt beside it" in report.broken[1].reason
    assert "c.txt: expected UTF-8 text" in report.broken[2].reason
    assert prepare(tmp_path, skip_broken=True).utterances == 1


def test_no_folder_and_no_audio_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a folder at"):
        prepare(tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(FileNotFoundError, match="found none among 0 files"):
        prepare(tmp_path)
