from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asr.config import ExperimentConfig
from asr.data.manifest import Utterance
from asr.training import run
from asr.training.probe import largest_batch
from asr.training.run import train

LoadConfig = Callable[..., ExperimentConfig]


def test_largest_batch_is_the_longest_utterance_at_the_slowest_speed() -> None:
    utterances = [
        Utterance(id=name, audio_filepath=Path(name), duration_seconds=seconds)
        for name, seconds in (("a", 2.0), ("b", 4.0))
    ]
    batch = largest_batch(
        utterances, batch_seconds=21.0, slowest_speed=0.8, sample_rate_hz=100, longest_labels=7
    )
    # 4 s at a speed of 0.8 are 5 s, of which 21 s hold four.
    assert batch.waveforms.shape == (4, 500)
    assert batch.waveform_lengths.tolist() == [500] * 4
    assert batch.labels.shape == (4, 7)
    assert batch.label_lengths.tolist() == [7] * 4


def test_the_probe_is_told_of_the_longest_transcript_and_the_slowest_speed(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def noted(utterances: list[Utterance], **settings: Any) -> Any:  # noqa: ANN401
        asked.update(settings, texts=[item.text for item in utterances])
        return largest_batch(utterances, **settings)

    monkeypatch.setattr(run, "largest_batch", noted)
    train(load("training.max_steps=1", "training.memory_probe=true"), tmp_path / "exp")
    # A letter each, the blank between two words and the mark before the first.
    assert asked["longest_labels"] == 1 + max(len(text) for text in asked["texts"])
    assert (asked["slowest_speed"], asked["batch_seconds"]) == (0.9, 4.0)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_is_the_same_after_the_probe(
    load: LoadConfig, tmp_path: Path, optimizer: str
) -> None:
    weights = []
    for probe in ("true", "false"):
        settings = ("training.max_steps=2", f"training.optimizer={optimizer}")
        train(load(*settings, f"training.memory_probe={probe}"), tmp_path / probe)
        weights.append((tmp_path / probe / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
