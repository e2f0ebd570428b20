import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from asr.cli.align import align
from asr.data.manifest import Utterance, write_manifest
from tests.conftest import NoiseMaker

RATE_HZ = 16000

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(align)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def manifest(tmp_path: Path, noise: NoiseMaker) -> Path:
    """Three good utterances and one of each kind that cannot be aligned."""
    audio = tmp_path / "a.wav"
    soundfile.write(audio, noise(3.0, seed=1), RATE_HZ)
    texts: dict[str, str | None] = {
        "x/one": "The quick, brown fox",
        "digits": "the 4 dogs",
        "none": None,
        "two": "lazy",
        "blank": " ... ",
        "long": "the quick brown fox jumps over a lazy dog " * 4,
        "x/three": "dog",
    }
    utterances = [
        Utterance(id=name, audio_filepath=audio, duration_seconds=3.0, text=text)
        for name, text in texts.items()
    ]
    lost = tmp_path / "lost.wav"
    utterances.append(Utterance(id="lost", audio_filepath=lost, duration_seconds=1.0, text="fox"))
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, utterances)
    return path


def test_what_cannot_be_aligned_is_named_and_the_others_done(
    tiny_experiment: Path, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = run(tiny_experiment, manifest, "--out", out, "--device", "cpu")
    assert result.exit_code == 1
    records: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(record["id"], record["text"]) for record in records] == [
        ("x/one", "THE QUICK BROWN FOX"),
        ("two", "LAZY"),
        ("x/three", "DOG"),
    ]
    for record in records:
        assert " ".join(word["word"] for word in record["words"]) == record["text"]
        times = [time for word in record["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= record["duration"] == 3.0
        assert record["score"] < 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors[:-1]] == [
        "digits",
        "none",
        "blank",
        "long",
        "lost",
    ]
    for line, part in zip(
        errors,
        [
            "found ['4'] in 'the 4 dogs'; leave",
            "expected a transcript to align, found none; add",
            "expected a transcript with words, found ' ... '; correct",
            "labels, found 73; check that text and audio belong together",
            "lost.wav",
            "expected 8 inputs to be aligned, found 5 that cannot be aligned, named above",
        ],
        strict=True,
    ):
        assert part in line
    assert "aligned 3 of 8 inputs: 9.0 s of audio" in result.stderr


@pytest.mark.parametrize(("name", "suffix"), [("srt", "srt"), ("textgrid", "TextGrid")])
def test_a_file_for_each_recording(
    tiny_experiment: Path, manifest: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    out = tmp_path / "out"
    assert run(tiny_experiment, manifest, "--out", out, "--format", name).exit_code == 1
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == [f"two.{suffix}", f"x/one.{suffix}", f"x/three.{suffix}"]


def test_ctm(tiny_experiment: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ctm"
    assert run(tiny_experiment, manifest, "--out", out, "--format", "ctm").exit_code == 1
    rows = [line.split() for line in out.read_text().splitlines()]
    assert [(row[0], row[4]) for row in rows[:4]] == [
        ("x/one", word) for word in ("THE", "QUICK", "BROWN", "FOX")
    ]


def test_an_empty_manifest_is_an_error(tiny_experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").touch()
    result = run(tiny_experiment, tmp_path / "m.jsonl", "--out", tmp_path / "out")
    assert isinstance(result.exception, ValueError)
    assert "expected utterances to align" in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [["exp"], ["exp", "m"], ["exp", "m", "--out", "o", "--format", "x"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_unknown_device(tiny_experiment: Path, manifest: Path, tmp_path: Path) -> None:
    result = run(tiny_experiment, manifest, "--out", tmp_path / "words", "--device", "toaster")
    assert "expected a device that torch can use, found 'toaster'" in str(result.exception)
