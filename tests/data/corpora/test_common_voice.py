from pathlib import Path

import pytest

from asr.data.corpora.common_voice import COMMON_VOICE
from asr.data.manifest import read_manifest
from tests.data.corpora.trees import common_voice_tree


def test_speaker_id_and_quotes(tmp_path: Path) -> None:
    tree = common_voice_tree(tmp_path / "in")
    [report] = COMMON_VOICE.prepare(tree.root / "cy", tmp_path / "out", splits=["test"])
    assert report.manifest is not None
    rows = [(item.id, item.speaker, item.text) for item in read_manifest(report.manifest)]
    assert rows == [
        ("common_voice_cy_test0", "speaker0", '"Bore da", 0'),
        ("common_voice_cy_test1", "speaker1", '"Bore da", 1'),
    ]
    assert report.speakers == 2


def test_several_languages_are_an_error_that_names_them(tmp_path: Path) -> None:
    for language in ("cy", "br"):
        common_voice_tree(tmp_path / "in", language)
    with pytest.raises(ValueError, match=r"expected one language below .*in, found br, cy; give"):
        COMMON_VOICE.prepare(tmp_path / "in", tmp_path / "out")


def test_other_tables_are_splits_only_when_asked_for(tmp_path: Path) -> None:
    folder = common_voice_tree(tmp_path / "in").root / "cy"
    (folder / "validated.tsv").write_bytes((folder / "dev.tsv").read_bytes())
    names = [report.name for report in COMMON_VOICE.prepare(folder, tmp_path / "out")]
    assert names == ["train", "dev", "test"]
    [report] = COMMON_VOICE.prepare(folder, tmp_path / "out", splits=["validated"])
    assert report.utterances == 2
    with pytest.raises(FileNotFoundError, match="expected reported below"):
        COMMON_VOICE.prepare(folder, tmp_path / "out", splits=["reported"])


def test_broken_rows_are_named_with_their_line(tmp_path: Path) -> None:
    folder = common_voice_tree(tmp_path / "in").root / "cy"
    with (folder / "test.tsv").open("a") as stream:
        stream.write("s\t\tno path\ns\tgone.mp3\tx\t0\t0\t\t\t\ns\tgone.mp3\ns\tgone.mp3\tx\n")
    [report] = COMMON_VOICE.prepare(folder, tmp_path / "out", splits=["test"])
    reasons = {item.id: item.reason for item in report.broken}
    path = folder.absolute() / "test.tsv"
    assert "expected a path in 'path', found none" in reasons[f"{path}:4"]
    assert "expected a cell for each of the 6 columns" in reasons[f"{path}:5"]
    assert "expected text in 'sentence', found None" in reasons[f"{path}:6"]
    assert "gone.mp3" in reasons["gone"]
    assert report.manifest is None
