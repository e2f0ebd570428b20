from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from asr.data.manifest import Utterance
from asr.inference.audio_input import (
    AudioInput,
    duration_seconds,
    read_batches,
    read_input,
    read_input_blocks,
)

RATE_HZ = 16000


def noise(seconds: float, *, rate_hz: int = RATE_HZ, channels: int = 1) -> NDArray[np.float32]:
    generator = np.random.default_rng(0)
    return generator.uniform(-0.5, 0.5, (int(seconds * rate_hz), channels)).astype(np.float32)


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, noise(25.0, rate_hz=48000, channels=2), 48000, subtype="FLOAT")
    return path


def test_samples_are_as_the_file_of_them(stereo: Path) -> None:
    samples, rate_hz = soundfile.read(stereo, dtype="float32")
    from_samples = read_input((samples, rate_hz), sample_rate_hz=RATE_HZ)
    from_file = read_input(stereo, sample_rate_hz=RATE_HZ)
    assert torch.allclose(from_samples, from_file, atol=1e-6)
    assert duration_seconds((samples, rate_hz)) == duration_seconds(str(stereo)) == 25.0


def test_doubles_and_tensors_are_taken(stereo: Path) -> None:
    samples = noise(0.5)[:, 0]
    expected = torch.from_numpy(samples)
    assert torch.equal(read_input((expected.double(), RATE_HZ), sample_rate_hz=RATE_HZ), expected)


@pytest.mark.parametrize("kind", ["file", "whole utterance", "stretch"])
def test_blocks_equal_the_whole(stereo: Path, kind: str) -> None:
    items: dict[str, AudioInput] = {
        "file": stereo,
        "whole utterance": Utterance(id="a", audio_filepath=stereo, duration_seconds=25.0),
        "stretch": Utterance(
            id="a", audio_filepath=stereo, duration_seconds=11.0, offset_seconds=3.0
        ),
    }
    item = items[kind]
    blocks = list(read_input_blocks(item, sample_rate_hz=RATE_HZ))
    whole = read_input(item, sample_rate_hz=RATE_HZ)
    assert len(whole) == (11 if kind == "stretch" else 25) * RATE_HZ
    assert torch.allclose(torch.cat(blocks), whole, atol=1e-6)
    assert max(map(len, blocks)) < 10.1 * RATE_HZ


def test_utterance_that_ends_before_its_file(stereo: Path) -> None:
    item = Utterance(id="a", audio_filepath=stereo, duration_seconds=11.0)
    blocks = list(read_input_blocks(item, sample_rate_hz=RATE_HZ))
    assert sum(map(len, blocks)) == 11 * RATE_HZ


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.array([0.0, np.nan]), RATE_HZ, "finite samples"),
        (np.zeros(0), RATE_HZ, "at least one sample"),
        (np.zeros((2, 2, 2)), RATE_HZ, "of shape"),
        (np.zeros(10), 0, "sample rate in whole Hz above 0"),
        (np.zeros(10), 16000.5, "sample rate in whole Hz above 0"),
        (np.zeros(10), 44101, "expected a common sampling rate"),
        (np.zeros((1, 16000)), RATE_HZ, r"found \(1, 16000\), of over 64 channels; transpose"),
    ],
)
def test_bad_samples(samples: NDArray[np.float64], rate_hz: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_input((samples, rate_hz), sample_rate_hz=RATE_HZ)


def test_integer_samples_name_the_remedy() -> None:
    with pytest.raises(TypeError, match="divide integers by their full scale"):
        read_input((np.zeros(10, dtype=np.int16), RATE_HZ), sample_rate_hz=RATE_HZ)


def test_read_batches_keep_order_and_carry_errors(tmp_path: Path) -> None:
    inputs: list[AudioInput] = [(np.full(10, index / 10), RATE_HZ) for index in range(6)]
    inputs.append(tmp_path / "none.wav")
    batches = [[5, 0], [6, 1], [2], [3], [4]]
    found = list(read_batches(inputs, batches, sample_rate_hz=RATE_HZ))
    assert [[item.index for item in batch] for batch in found] == batches
    error = found[1][0].samples
    assert isinstance(error, FileNotFoundError)
    for batch in found:
        for item in batch:
            if isinstance(item.samples, torch.Tensor):
                assert item.samples[0] == pytest.approx(item.index / 10)


def test_reading_stays_few_batches_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def noted_read(item: str, *, sample_rate_hz: int) -> torch.Tensor:
        started.append(item)
        return torch.zeros(1)

    monkeypatch.setattr("asr.inference.audio_input.read_input", noted_read)
    inputs: list[AudioInput] = [str(index) for index in range(100)]
    next(read_batches(inputs, [[index] for index in range(100)], sample_rate_hz=1))
    assert len(started) <= 4
