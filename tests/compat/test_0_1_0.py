"""Experiments and language models that 0.1.0 wrote: later versions load them and go on.

`data/README.md` says what the files are and what must hold.
"""

import csv
import hashlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from asr import cli

_DATA = Path(__file__).parent / "data"
# What depends on the clock or on the machine is no result.
_CLOCK = ("hours", "audio_seconds_per_second", "tokens_per_second", "data_wait")


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A copy of the files, with its own place in the configs that name one."""
    folder = tmp_path / "tones"
    shutil.copytree(_DATA, folder)
    for config in folder.glob("*/config.toml"):
        config.write_text(config.read_text().replace("/data/tones", folder.as_posix()))
    return folder


def _asr(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asr", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file: numbers by column, without what was not measured."""
    with path.open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value and name not in _CLOCK}
            for row in csv.DictReader(file)
        ]


def _assert_same_hypotheses(found: Path, expected: Path) -> None:
    for hypothesis, was in zip(_lines(found), _lines(expected), strict=True):
        assert (hypothesis["id"], hypothesis["text"]) == (was["id"], was["text"])
        assert hypothesis["score"] == pytest.approx(was["score"], abs=1e-4)
        words = [(word["word"], word["start"], word["end"]) for word in hypothesis["words"]]
        for word, before in zip(words, was["words"], strict=True):
            assert word[0] == before["word"]
            assert word[1:] == pytest.approx((before["start"], before["end"]), abs=2e-3)
        for one, before in zip(hypothesis.get("nbest", []), was.get("nbest", []), strict=True):
            assert one["text"] == before["text"]
            for name in ("score", "acoustic_score", "lm_score"):
                assert one[name] == pytest.approx(before[name], abs=1e-4)


def test_greedy_search_gives_the_same_texts_and_scores(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tones / "hyp.jsonl"
    assert _asr(monkeypatch, "decode", tones / "finished", tones / "dev.jsonl", "--out", out) == 0
    _assert_same_hypotheses(out, tones / "expected.greedy.jsonl")


def test_beam_search_with_a_language_model_gives_the_same_texts_and_scores(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tones / "hyp.jsonl"
    search = ("--decoder", "beam", "--beam-size", "8", "--nbest", "4")
    lm = ("--lm", tones / "ngram", "--lm-weight", "0.3")
    files = (tones / "finished", tones / "dev.jsonl", "--out", out)
    assert _asr(monkeypatch, "decode", *files, *search, *lm) == 0
    _assert_same_hypotheses(out, tones / "expected.beam.jsonl")


@pytest.mark.parametrize("name", ["ngram", "neural"])
def test_language_models_score_as_before(
    name: str, tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _asr(monkeypatch, "lm", "score", tones / name, tones / "text.txt") == 0
    assert capsys.readouterr().out == (tones / f"expected.{name}.txt").read_text()


def test_finished_weights_start_another_experiment(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, out = tones / "finished", tones / "next"
    first = ("--init", finished, "--set", "training.max_steps=1")
    assert _asr(monkeypatch, "train", finished / "config.toml", "--out", out, *first) == 0
    (row,) = [row for row in _rows(out / "metrics.csv") if "validation_loss" in row]
    begun = _rows(_DATA / "interrupted" / "metrics.csv")[0]
    # One step of a finished model is better than twenty steps of random weights.
    assert row["step"] == 1
    assert row["validation_loss"] < begun["validation_loss"] / 4
    assert math.isfinite(row["validation_loss"])


def test_resume_of_a_finished_experiment_has_nothing_to_do(
    tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = tones / "finished"
    before = _digests(finished)
    again = ("--out", finished, "--resume")
    assert _asr(monkeypatch, "train", finished / "config.toml", *again) == 0
    said = capsys.readouterr().err
    assert "is finished" in said
    assert "nothing to do" in said
    assert _digests(finished) == before


def test_resume_of_an_interrupted_experiment_equals_the_uninterrupted_one(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = tones / "interrupted"
    on = ("--out", interrupted, "--resume", "--set", "training.max_steps=0")
    assert _asr(monkeypatch, "train", interrupted / "config.toml", *on) == 0
    found = _rows(interrupted / "metrics.csv")
    expected = _rows(_DATA / "expected.resumed.metrics.csv")
    assert len(found) == len(expected)
    for row, was in zip(found, expected, strict=True):
        assert {name: row[name] for name in was} == pytest.approx(was, abs=1e-4)
