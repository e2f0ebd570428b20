from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from asr.data.audio import read_audio
from asr.data.batch import Batch
from asr.data.dataset import BrokenExample, Example, SpeechDataset, collate
from asr.data.manifest import Utterance
from asr.features.augmentation import AugmentationConfig, WaveformAugment

RATE_HZ = 16000


def encode(text: str) -> list[int]:
    return [ord(character) - ord("a") + 1 for character in text]


def write_utterance(folder: Path, name: str, *, seconds: float, text: str | None) -> Utterance:
    samples = np.random.default_rng(len(name)).normal(0, 0.1, int(seconds * RATE_HZ))
    soundfile.write(folder / f"{name}.flac", samples, RATE_HZ)
    return Utterance(
        id=name, audio_filepath=folder / f"{name}.flac", duration_seconds=seconds, text=text
    )


def dataset(
    utterances: list[Utterance], *, augmented: bool = False, seed: int = 0
) -> SpeechDataset:
    config = AugmentationConfig(
        speed_factors=(0.9, 1.0, 1.1),
        noise_probability=0.5,
        noise_snr_db=(5.0, 20.0),
        gain_db=(-6.0, 6.0),
    )
    return SpeechDataset(
        utterances,
        encode=encode,
        sample_rate_hz=RATE_HZ,
        augment=WaveformAugment(config, sample_rate_hz=RATE_HZ) if augmented else None,
        seed=seed,
    )


def waveform(data: SpeechDataset, epoch: int, index: int) -> Tensor:
    example = data[epoch, index]
    assert isinstance(example, Example)
    return example.waveform


def test_example_is_the_audio_and_its_labels(tmp_path: Path) -> None:
    utterance = write_utterance(tmp_path, "one", seconds=0.5, text="abc")
    example = dataset([utterance])[0, 0]
    assert isinstance(example, Example)
    assert example.id == "one"
    assert torch.equal(example.waveform, read_audio(utterance.audio_filepath))
    assert example.labels.tolist() == [1, 2, 3]
    assert example.labels.dtype == torch.int64


def test_stretch_of_a_file_is_read(tmp_path: Path) -> None:
    whole = write_utterance(tmp_path, "one", seconds=1.0, text="a")
    part = Utterance(
        id="part",
        audio_filepath=whole.audio_filepath,
        duration_seconds=0.25,
        offset_seconds=0.5,
        text="a",
    )
    read = waveform(dataset([part]), 0, 0)
    assert torch.equal(read, waveform(dataset([whole]), 0, 0)[8000:12000])


def test_augmentation_depends_on_seed_epoch_and_id_alone(tmp_path: Path) -> None:
    utterances = [
        write_utterance(tmp_path, name, seconds=0.3, text="a") for name in ("one", "three", "seven")
    ]
    forwards, backwards = (
        dataset(utterances, augmented=True),
        dataset(utterances[::-1], augmented=True),
    )
    first = [waveform(forwards, 2, index) for index in range(3)]
    torch.rand(5)
    again = [waveform(backwards, 2, 2 - index) for index in reversed(range(3))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    others = [
        waveform(forwards, 3, 0),
        waveform(dataset(utterances, augmented=True, seed=1), 2, 0),
    ]
    assert not any(torch.equal(first[0], other) for other in others)


def test_duration_factors_foretell_the_lengths(tmp_path: Path) -> None:
    utterances = [
        write_utterance(tmp_path, "u" * (1 + index), seconds=0.3, text="a") for index in range(9)
    ]
    data = dataset(utterances, augmented=True)
    for epoch in range(2):
        lengths = [len(waveform(data, epoch, index)) for index in range(9)]
        expected = [0.3 * RATE_HZ * factor for factor in data.duration_factors(epoch)]
        assert lengths == pytest.approx(expected, abs=1)
    assert data.duration_factors(0) != data.duration_factors(1)
    assert dataset(utterances).duration_factors(0) == [1.0] * 9


@pytest.mark.parametrize("content", [b"", b"no audio at all"])
def test_broken_audio_names_utterance_and_file(tmp_path: Path, content: bytes) -> None:
    utterance = write_utterance(tmp_path, "one", seconds=0.3, text="a")
    utterance.audio_filepath.write_bytes(content)
    example = dataset([utterance])[0, 0]
    assert isinstance(example, BrokenExample)
    assert "utterance 'one'" in example.message
    assert str(utterance.audio_filepath) in example.message


def test_missing_audio_names_utterance_and_file(tmp_path: Path) -> None:
    utterance = write_utterance(tmp_path, "one", seconds=0.3, text="a")
    utterance.audio_filepath.unlink()
    example = dataset([utterance])[0, 0]
    assert isinstance(example, BrokenExample)
    assert "utterance 'one'" in example.message
    assert str(utterance.audio_filepath) in example.message


def test_utterance_without_text_is_an_error(tmp_path: Path) -> None:
    utterance = write_utterance(tmp_path, "one", seconds=0.3, text=None)
    with pytest.raises(ValueError, match="utterance 'one': expected a transcript, found none"):
        dataset([utterance])


def example(name: str, samples: int, labels: list[int]) -> Example:
    return Example(
        id=name,
        waveform=torch.full((samples,), 0.5),
        labels=torch.tensor(labels, dtype=torch.int64),
    )


def test_collate_pads_with_zeros_and_keeps_the_order() -> None:
    batch = collate([example("a", 2, [5]), example("b", 4, [7, 8, 9]), example("c", 3, [])])
    assert isinstance(batch, Batch)
    assert batch.ids == ("a", "b", "c")
    assert batch.waveforms.tolist() == [[0.5, 0.5, 0, 0], [0.5] * 4, [0.5, 0.5, 0.5, 0]]
    assert batch.waveform_lengths.tolist() == [2, 4, 3]
    assert batch.labels.tolist() == [[5, 0, 0], [7, 8, 9], [0, 0, 0]]
    assert batch.label_lengths.tolist() == [1, 3, 0]
    for tensor in (batch.waveform_lengths, batch.labels, batch.label_lengths):
        assert tensor.dtype == torch.int64


def test_collate_of_empty_transcripts_has_no_labels() -> None:
    batch = collate([example("a", 2, []), example("b", 2, [])])
    assert isinstance(batch, Batch)
    assert batch.labels.shape == (2, 0)
    assert batch.label_lengths.tolist() == [0, 0]


def test_collate_hands_on_the_first_broken_example() -> None:
    broken = BrokenExample(message="utterance 'b'")
    assert collate([example("a", 2, [1]), broken, BrokenExample(message="c")]) is broken
