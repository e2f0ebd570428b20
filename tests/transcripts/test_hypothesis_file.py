import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from asr.data.json_lines import JsonLinesError
from asr.transcripts.hypothesis import Alternative, Hypothesis, Word
from asr.transcripts.hypothesis_file import (
    FormatError,
    HypothesisRecord,
    HypothesisWriter,
    read_hypotheses,
    text_line,
    write_hypotheses,
)

HYPOTHESIS = Hypothesis(
    text="zwei wörter",
    score=-1.5,
    words=(
        Word(word="zwei", start_seconds=0.04, end_seconds=0.2, confidence=0.5),
        Word(word="wörter", start_seconds=0.24, end_seconds=0.6, confidence=1.0),
    ),
    duration_seconds=2.0,
)


def record(name: str, audio: Path | None = None) -> HypothesisRecord:
    return HypothesisRecord(id=name, hypothesis=HYPOTHESIS, audio_filepath=audio)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hyp.jsonl"
    write_hypotheses(path, [record("b"), record("a")])
    assert list(read_hypotheses(path).items()) == [("b", HYPOTHESIS), ("a", HYPOTHESIS)]
    assert names(path.parent) == ["hyp.jsonl"]


def test_fields_have_the_names_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "hyp.jsonl"
    audio = tmp_path / "audio" / "a.flac"
    write_hypotheses(path, [record("a", audio), record("b", Path("/elsewhere/b.flac"))])
    below, elsewhere = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert below == {
        "id": "a",
        "audio_filepath": "audio/a.flac",
        "text": "zwei wörter",
        "score": -1.5,
        "duration": 2.0,
        "words": [
            {"word": "zwei", "start": 0.04, "end": 0.2, "confidence": 0.5},
            {"word": "wörter", "start": 0.24, "end": 0.6, "confidence": 1.0},
        ],
    }
    assert elsewhere["audio_filepath"] == "/elsewhere/b.flac"


def test_text_format_is_id_tab_text() -> None:
    assert text_line(record("a b"), Path()) == "a b\tzwei wörter"


def test_nbest_are_written_and_read(tmp_path: Path) -> None:
    nbest = (
        Alternative(
            text="zwei wörter",
            score=-1.5,
            acoustic_score=-1.0,
            lm_scores={"lm_score": -5.0, "rescore": -4.0},
            tokens=7,
        ),
        Alternative(text="", score=-2.5, acoustic_score=-2.5, lm_scores={}),
    )
    hypothesis = replace(HYPOTHESIS, nbest=nbest)
    path = tmp_path / "hyp.jsonl"
    write_hypotheses(path, [HypothesisRecord(id="a", hypothesis=hypothesis)])
    assert json.loads(path.read_text(encoding="utf-8"))["nbest"] == [
        {
            "text": "zwei wörter",
            "score": -1.5,
            "acoustic_score": -1.0,
            "lm_score": -5.0,
            "rescore": -4.0,
            "tokens": 7,
        },
        {"text": "", "score": -2.5, "acoustic_score": -2.5},
    ]
    assert read_hypotheses(path) == {"a": hypothesis}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "text": "x"', "one JSON object a line"),
        ('{"id": "\xff", "text": "x"}', "UTF-8"),
        ("[1]", "expected a JSON object, found list"),
        ('{"text": "x"}', r"expected the field 'id' of type str or int, found only \['text'\]"),
        ('{"id": "a"}', "expected the field 'text'"),
        ('{"id": "a", "text": null}', "'text' of type str, found None"),
        ('{"id": "a", "text": "x", "score": "high"}', "'score' of type int or float"),
        ('{"id": "a", "text": "x", "score": NaN}', "'score' of type int or float, found nan"),
        ('{"id": "a", "text": "x", "words": ["x"]}', "each of 'words' to be a JSON object"),
        ('{"id": "a", "text": "x", "words": [{"word": "x"}]}', "'start' of type int or float"),
        ('{"id": "a", "text": "x", "nbest": ["x"]}', "each of 'nbest' to be a JSON object"),
        (
            '{"id": "a", "text": "x", "nbest": [{"text": "x", "score": 1}]}',
            "'acoustic_score' of type int or float",
        ),
        (
            '{"id": "a", "text": "x", "nbest": [{"text": "x", "score": 1, "acoustic_score": 1, '
            '"rescore": "high"}]}',
            "'rescore' of type int or float",
        ),
        (
            '{"id": "a", "text": "x", "nbest": [{"text": "x", "score": 1, "acoustic_score": 1, '
            '"tokens": 1.5}]}',
            "'tokens' of type int",
        ),
        ('{"id": "first", "text": "y"}', "'first' again .first at .*hyp.jsonl:1."),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "hyp.jsonl"
    path.write_bytes(b'{"id": "first", "text": "x"}\n\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(JsonLinesError, match=f"hyp.jsonl:3: .*{message}") as caught:
        read_hypotheses(path)
    assert "\n" not in str(caught.value)


def test_text_alone_is_enough_of_another_recogniser(tmp_path: Path) -> None:
    path = tmp_path / "hyp.jsonl"
    path.write_text('{"id": 7, "text": "x"}\n')
    empty = Hypothesis(text="x", score=0.0, words=(), duration_seconds=0.0)
    assert read_hypotheses(path) == {"7": empty}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `asr decode` first"):
        read_hypotheses(tmp_path / "none.jsonl")


def test_interrupted_writer_keeps_the_partial_and_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "hyp.jsonl"
    path.write_text("old\n")
    with HypothesisWriter(path) as writer:
        writer.append(record("a"))
        # What a killed process leaves: nothing waits in a buffer.
        assert list(read_hypotheses(writer.part_path)) == ["a"]
    assert path.read_text() == "old\n"
    assert list(read_hypotheses(tmp_path / "hyp.jsonl.part")) == ["a"]


def test_partial_file_stays_until_another_run_has_all(tmp_path: Path) -> None:
    former = tmp_path / "hyp.jsonl.part"
    former.write_text("former\n")
    with HypothesisWriter(tmp_path / "hyp.jsonl"):
        pass
    assert former.read_text() == "former\n"
    with HypothesisWriter(tmp_path / "hyp.jsonl") as writer:
        writer.append(record("a"))
        assert (former.read_text(), writer.part_path.name) == ("former\n", "hyp.jsonl.part2")
        writer.finish()
    assert names(tmp_path) == ["hyp.jsonl"]


def test_devices_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="found: a device or pipe of that name"):
        HypothesisWriter(tmp_path / "pipe")


def test_writer_without_a_line_leaves_nothing(tmp_path: Path) -> None:
    with HypothesisWriter(tmp_path / "hyp.jsonl"):
        pass
    assert names(tmp_path) == []


def test_finish_sorts(tmp_path: Path) -> None:
    path = tmp_path / "hyp.jsonl"
    with HypothesisWriter(path) as writer:
        writer.append(record("b"))
        writer.append(record("c"))
        writer.append(record("a"))
        writer.finish(["a", "failed", "b", "c"])
    assert list(read_hypotheses(path)) == ["a", "b", "c"]


def test_writer_refuses_a_repeated_id(tmp_path: Path) -> None:
    with HypothesisWriter(tmp_path / "hyp.jsonl") as writer:
        writer.append(record("a"))
        with pytest.raises(ValueError, match="expected unique ids"):
            writer.append(record("a"))


def test_writer_refuses_a_score_that_is_not_finite(tmp_path: Path) -> None:
    bad = Hypothesis(text="", score=float("nan"), words=(), duration_seconds=0.0)
    with HypothesisWriter(tmp_path / "h") as writer, pytest.raises(FormatError, match="finite"):
        writer.append(HypothesisRecord(id="a", hypothesis=bad))


def test_folder_as_output(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"expected to write .*found: a folder of that name"):
        HypothesisWriter(tmp_path)


def test_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"expected to write .*hyp.jsonl, found: "):
        HypothesisWriter(tmp_path / "file" / "hyp.jsonl")


def test_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hyp.jsonl"

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with HypothesisWriter(path) as writer:
        writer.append(record("a"))
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="found: No space left on device; free space"):
            writer.finish()
    assert names(tmp_path) == ["hyp.jsonl.part"]
    assert list(read_hypotheses(tmp_path / "hyp.jsonl.part")) == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_while_appending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_, **__: open("/dev/full", "w"))  # noqa: PTH123, SIM115
    full = pytest.raises(OSError, match="found: No space left on device; free space")
    with HypothesisWriter(tmp_path / "hyp.jsonl") as writer, full:
        writer.append(record("a"))
