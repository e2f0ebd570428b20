import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.corpora import table
from asr.data.corpora.table import TableError
from asr.data.manifest import read_manifest
from asr.data.validation import ManifestReport


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "clips" / f"{name}.wav", np.full(1600, 0.1), 16000)
    return tmp_path


def prepare(
    path: Path, *, audio_column: str = "path", name: str = "mine", skip_broken: bool = False
) -> ManifestReport:
    return table.prepare(
        path,
        path.parent,
        name=name,
        audio_column=audio_column,
        text_column="text",
        skip_broken=skip_broken,
        jobs=1,
    )


def rows(path: Path, *, audio_column: str = "path") -> list[tuple[str, str | None, str | None]]:
    report = prepare(path, audio_column=audio_column)
    assert report.manifest is not None, report.broken
    return [(item.id, item.text, item.speaker) for item in read_manifest(report.manifest)]


def test_csv(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text('\ufeffpath,text,speaker\nclips/b.wav,"one, two",ann\nclips/a.wav,,\n')
    assert rows(path) == [("clips/b", "one, two", "ann"), ("clips/a", "", None)]


def test_tsv_keeps_quotes(folder: Path) -> None:
    path = folder / "t.tsv"
    path.write_text('id\tfile\ttext\nx\tclips/a.wav\t"quoted\ny\tclips/b.wav\tplain\n')
    assert rows(path, audio_column="file") == [("x", '"quoted', None), ("y", "plain", None)]


def test_json_lines_with_absolute_paths(folder: Path, tmp_path: Path) -> None:
    path = folder / "t.jsonl"
    inside = {"path": str(folder / "clips" / "a.wav"), "text": " one  two", "speaker": 7}
    path.write_text(json.dumps(inside) + "\n\n")
    assert rows(path) == [("clips/a", "one two", "7")]
    moved = tmp_path / "elsewhere" / "t.jsonl"
    moved.parent.mkdir()
    moved.write_text(path.read_text())
    assert rows(moved) == [("a", "one two", "7")]


def test_stretches_of_a_file(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text(
        "path,text,offset,duration\nclips/a.wav,one,0,0.04\nclips/a.wav,two,0.04,\n"
        "clips/b.wav,three,,\n"
    )
    report = prepare(path)
    assert report.manifest is not None, report.broken
    stretches = [
        (item.id, item.offset_seconds, item.duration_seconds)
        for item in read_manifest(report.manifest)
    ]
    assert stretches == [("clips/a", 0, 0.04), ("clips/a-40", 0.04, 0.06), ("clips/b", 0, 0.1)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("clips/a.wav,one,0.05,0.1", "expected a stretch within the file's 0.100 s"),
        ("clips/a.wav,one,00:01,", "expected seconds in 'offset', found '00:01'"),
        ("clips/a.wav,one,-1,", "expected seconds in 'offset', found '-1'"),
        ("clips/a.wav,one, two,0,0.1", "t.csv:2: expected a cell for each of the 4 columns"),
    ],
)
def test_rows_that_do_not_fit(folder: Path, row: str, message: str) -> None:
    path = folder / "t.csv"
    path.write_text(f"path,text,offset,duration\n{row}\n")
    assert [message in item.reason for item in prepare(path).broken] == [True]


def test_broken_rows_are_named_with_their_line(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text(
        "path,text\nclips/a.wav,fine\nclips/gone.wav,x\n,x\nclips/b.wav\nclips/a.wav,y\n"
    )
    report = prepare(path)
    assert report.manifest is None
    reasons = [item.reason for item in report.broken]
    assert len(reasons) == 4
    assert any("gone.wav, found none" in reason for reason in reasons)
    assert any("t.csv:4: expected a path in 'path'" in reason for reason in reasons)
    assert any("t.csv:5: expected text in 'text', found None" in reason for reason in reasons)
    assert any("expected a unique id, found 'clips/a'" in reason for reason in reasons)
    assert prepare(path, skip_broken=True).utterances == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"file,words\nx,y\n", "expected the columns path, text, found file, words"),
        ("t.csv", b"", "found no header"),
        ("t.csv", b"path,text\n", "expected at least one row"),
        ("t.csv", b"path,text\nclips/a.wav,caf\xe9\n", "expected UTF-8"),
        ("t.csv", b'path,text\n"' + b"x" * 140000, r"t\.csv:\d+: expected a row"),
        ("t.xlsx", b"x", r"ends in \.csv, \.jsonl, \.tsv, found '\.xlsx'"),
        ("t.jsonl", b"{\n", r"t\.jsonl:1: expected one JSON object a line"),
        ("t.jsonl", b"[1]\n", r"t\.jsonl:1: expected a JSON object, found list"),
    ],
)
def test_unusable_table_is_an_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepare(path)
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_table_is_never_overwritten(folder: Path) -> None:
    path = folder / "t.jsonl"
    path.write_text('{"path": "clips/a.wav", "text": "x"}\n')
    with pytest.raises(TableError, match="a manifest of another name than the table"):
        prepare(path, name="t")
    assert path.read_text().startswith('{"path"')


def test_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a table at"):
        prepare(tmp_path / "t.csv")
