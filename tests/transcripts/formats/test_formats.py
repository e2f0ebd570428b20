from pathlib import Path
from typing import get_args

import pytest

from asr.cli.outcomes import FormatName
from asr.transcripts.formats import FORMATS, open_writer
from asr.transcripts.formats.ctm import ctm_lines
from asr.transcripts.formats.folder_writer import FolderWriter
from asr.transcripts.hypothesis import Hypothesis, Word
from asr.transcripts.hypothesis_file import HypothesisRecord

HYPOTHESIS = Hypothesis.of_words(
    (
        Word(word="zwei", start_seconds=0.0404, end_seconds=0.2, confidence=0.5),
        Word(word="wörter", start_seconds=0.2, end_seconds=1.9999, confidence=1.0),
        Word(word="x", start_seconds=2.0004, end_seconds=2.0004, confidence=0.25),
    ),
    score=-1.5,
    duration_seconds=2.0004,
)
EMPTY = Hypothesis.of_words((), score=0.0, duration_seconds=1.0)


def record(name: str, hypothesis: Hypothesis = HYPOTHESIS) -> HypothesisRecord:
    return HypothesisRecord(id=name, hypothesis=hypothesis)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_command_line_has_every_format() -> None:
    assert list(get_args(FormatName)) == list(FORMATS)


def test_ctm_columns() -> None:
    assert ctm_lines(record("a/b"), Path()).splitlines() == [
        "a/b 1 0.040 0.160 zwei 0.5000",
        "a/b 1 0.200 1.800 wörter 1.0000",
        "a/b 1 2.000 0.000 x 0.2500",
    ]


def test_ctm_is_one_file_without_lines_for_empty_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "hyp.ctm"
    with open_writer(path, "ctm", ids=["b", "c", "a"]) as writer:
        for item in (record("a"), record("b"), record("c", EMPTY)):
            writer.append(item)
        writer.finish(["b", "c", "a"])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["b"] * 3 + ["a"] * 3
    assert files(tmp_path) == ["hyp.ctm"]


def test_ctm_of_empty_transcripts_alone_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "hyp.ctm"
    with open_writer(path, "ctm", ids=["a"]) as writer:
        writer.append(record("a", EMPTY))
        writer.finish()
    assert path.read_text() == ""


@pytest.mark.parametrize("name", ["a b", "a\tb", "", " a"])
def test_ctm_refuses_ids_that_are_no_column(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected ids without blanks"):
        open_writer(tmp_path / "hyp.ctm", "ctm", ids=["a", name])
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "format_name", "message"),
    [
        ("a\nb", "txt", "without tabs and ends of lines"),
        ("a\tb", "txt", "without tabs and ends of lines"),
        (";;a", "ctm", "that do not begin with ;;"),
        ("b/" + 252 * "\u00e4", "srt", "names of at most 255 bytes"),
        (252 * "z", "srt", "names of at most 255 bytes"),
    ],
)
def test_ids_that_the_format_cannot_hold(
    tmp_path: Path, name: str, format_name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_writer(tmp_path / "out", format_name, ids=["a", name])
    assert files(tmp_path) == []


def test_longest_name(tmp_path: Path) -> None:
    name = 251 * "z"
    with open_writer(tmp_path, "srt", ids=[name]) as writer:
        writer.append(record(name))
    assert files(tmp_path) == [f"{name}.srt"]


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/", "", ".", "a/../../b", "a\0b"])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected ids that name a file below --out"):
        open_writer(tmp_path / "out", "srt", ids=["a", name])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "suffix"), [("srt", ".srt"), ("vtt", ".vtt"), ("textgrid", ".TextGrid")]
)
def test_ids_with_slashes_make_folders(tmp_path: Path, name: str, suffix: str) -> None:
    out = tmp_path / "new" / "out"
    ids = ["b/c.d", "b/x", "a"]
    with open_writer(out, name, ids=ids) as writer:
        for record_id in ids:
            writer.append(record(record_id))
        writer.finish(ids)
    assert files(out) == [f"a{suffix}", f"b/c.d{suffix}", f"b/x{suffix}"]
    assert "zwei" in (out / f"b/c.d{suffix}").read_text(encoding="utf-8")


def test_each_file_is_in_place_at_once_and_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "a.srt").write_text("old")
    with open_writer(tmp_path, "srt", ids=["a"]) as writer:
        assert (tmp_path / "a.srt").read_text() == "old"
        writer.append(record("a"))
        assert "zwei" in (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert files(tmp_path) == ["a.srt", "other.txt"]


def test_folder_writer_refuses_a_repeated_id(tmp_path: Path) -> None:
    with open_writer(tmp_path, "vtt", ids=["a"]) as writer:
        writer.append(record("a"))
        with pytest.raises(ValueError, match="expected unique ids"):
            writer.append(record("a"))


def test_a_failure_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.srt").write_text("old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with (
        open_writer(tmp_path, "srt", ids=["a"]) as writer,
        pytest.raises(OSError, match=r"expected to write .*a.srt, found: No space left"),
    ):
        writer.append(record("a"))
    assert files(tmp_path) == ["a.srt"]
    assert (tmp_path / "a.srt").read_text() == "old"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OSError, match=r"expected to write .*out, found: a file of that name"):
        FolderWriter(tmp_path / "out", suffix=".srt", format_file=str)
