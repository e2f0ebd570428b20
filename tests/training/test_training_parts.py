from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.config import ExperimentConfig
from asr.data.manifest import Utterance
from asr.data.token_stream import SegmentLoader, TextDataConfig
from asr.training import run
from asr.training.dry_run import DryRun
from asr.training.muon import Muon, orthogonalised
from asr.training.probe import largest_batch
from asr.training.run import dry_run, train

LoadConfig = Callable[..., ExperimentConfig]


def test_muon_steps_along_nesterovs_look_ahead() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.nn.Parameter(torch.zeros(4, 6))
    vector = torch.nn.Parameter(torch.zeros(6))
    muon = Muon(
        [matrix],
        [{"params": [vector]}],
        learning_rate=0.1,
        weight_decay=0.0,
        betas=(0.9, 0.98),
        epsilon=1e-9,
    )
    mean, expected = torch.zeros(4, 6), torch.zeros(4, 6)
    for _ in range(4):
        matrix.grad = torch.randn(4, 6, generator=generator)
        vector.grad = torch.zeros(6)
        mean = 0.95 * mean + 0.05 * matrix.grad
        ahead = 0.05 * matrix.grad + 0.95 * mean
        expected -= 0.1 * 0.2 * 6**0.5 * orthogonalised(ahead.unsqueeze(0))[0]
        muon.step()
    torch.testing.assert_close(matrix.detach(), expected)


def test_segments_begin_elsewhere_in_each_epoch() -> None:
    config = TextDataConfig(segment_tokens=4, batch_tokens=8)
    loader = SegmentLoader(torch.arange(50), config, seed=1, rank=0, world_size=1)
    cuts = []
    for epoch in range(8):
        loader.load_state_dict({"epoch": epoch, "next_batch": 0})
        remainders = {int(start) % 4 for batch in loader for start in batch.inputs[:, 0]}
        assert len(remainders) == 1
        cuts.append(remainders.pop())
    assert len(set(cuts)) > 2


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


def test_hours_count_batches_and_not_steps(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.training.dry_run._MOST_BATCHES", 8)
    found = dry_run(load("training.epochs=2", "training.accumulate=4"), tmp_path / "exp")
    assert isinstance(found, DryRun)
    audio_hours = sum(0.8 + 0.03 * number for number in range(4, 24)) / 3600
    # Speeds of 0.9 to 1.1 and a few batches only: the mean of the others may be somewhat longer.
    assert found.hours == pytest.approx(2 * audio_hours / found.speed, rel=0.3)
