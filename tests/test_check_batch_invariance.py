import runpy
from pathlib import Path
from typing import Any

import pytest
import soundfile

from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.recognizer import Recognizer, load
from asr.transcripts.hypothesis import Hypothesis
from tests.conftest import NoiseMaker

TOOL = Path(__file__).parents[1] / "tools" / "check_batch_invariance.py"


@pytest.fixture
def manifest(tmp_path: Path, noise: NoiseMaker) -> Path:
    utterances = []
    for number in range(18):
        path = tmp_path / f"{number}.wav"
        seconds = 0.3 + 0.05 * (number * 7 % 18)
        soundfile.write(path, noise(seconds, seed=number), 16000)
        utterances.append(Utterance(id=str(number), audio_filepath=path, duration_seconds=seconds))
    write_manifest(tmp_path / "m.jsonl", utterances)
    return tmp_path / "m.jsonl"


@pytest.fixture
def tool() -> dict[str, Any]:
    return runpy.run_path(str(TOOL))


def test_tool_prints_identical(
    tool: dict[str, Any],
    tiny_experiment: Path,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["tool", str(tiny_experiment), str(manifest)])
    assert tool["main"]() == 0
    assert capsys.readouterr().out.splitlines() == [
        "batch 1: identical: 18/18",
        "batch 4: identical: 18/18",
        "batch 16: identical: 18/18",
        "batch 16 shuffled: identical: 18/18",
    ]


def test_tool_reports_a_difference(
    tool: dict[str, Any],
    tiny_experiment: Path,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decode_batch = Recognizer.decode_batch

    def depends_on_the_batch(recognizer: Recognizer, waveforms: Any) -> list[Hypothesis]:  # noqa: ANN401
        hypotheses = decode_batch(recognizer, waveforms)
        if len(waveforms) == 16:
            hypotheses[0] = Hypothesis(text="x", score=0.0, words=(), duration_seconds=1.0)
        return hypotheses

    monkeypatch.setattr(Recognizer, "decode_batch", depends_on_the_batch)
    differing = tool["check"](load(tiny_experiment), read_manifest(manifest), seed=1)
    assert differing == 2
    printed = capsys.readouterr()
    assert "batch 4: identical: 18/18\nbatch 16: identical: 17/18\n" in printed.out
    assert "differs from batch 1 in batch 16: 0\n" in printed.err


def test_tool_names_a_missing_experiment(
    tool: dict[str, Any],
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["tool", str(tmp_path / "none"), str(manifest)])
    assert tool["main"]() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: expected an experiment folder")
