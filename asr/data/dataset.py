"""Dataset of utterances: read, augmented, tokenised, and collated into padded batches."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from asr.data.audio import read_audio
from asr.data.audio_containers import AudioError
from asr.data.batch import Batch
from asr.data.manifest import Utterance


class WaveformTransform(Protocol):
    """A random change of a waveform, drawn from a seeded generator."""

    def duration_factor(self, seed: int) -> float:
        """Duration after over duration before, for a generator made from `seed`."""
        ...

    def __call__(self, waveform: Tensor, *, generator: torch.Generator) -> Tensor:
        """Change a waveform.

        Args:
            waveform: (sample,) float32.
            generator: Freshly seeded.

        Returns:
            (sample,) float32.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Example:
    """Training example: the waveform and labels of one utterance.

    Args:
        id: Utterance id.
        waveform: (sample,) float32.
        labels: (token,) int64.
    """

    id: str
    waveform: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class BrokenExample:
    """An utterance that cannot be read; it travels from the worker to the training process.

    Args:
        message: What is wrong, with the utterance and the file.
    """

    message: str


class SpeechDataset(Dataset[Example | BrokenExample]):
    """Dataset of utterances by (epoch, index).

    An item depends on the seed, the epoch and the utterance's id alone, never on the process that
    makes it or on the order.

    Args:
        utterances: What to read; all with text.
        encode: From text to labels, 1 .. number of pieces. Called at construction only.
        sample_rate_hz: Rate of the waveforms.
        augment: Applied to every waveform; None leaves them as they are.
        seed: Seed of the augmentation.

    Raises:
        ValueError: An utterance has no text.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        encode: Callable[[str], list[int]],
        sample_rate_hz: int,
        augment: WaveformTransform | None,
        seed: int,
    ) -> None:
        self._utterances = list(utterances)
        # Arrays: as lists of Python numbers the labels of 1000 hours would fill a gigabyte.
        self._labels = [
            np.asarray(encode(_text(utterance)), dtype=np.int32) for utterance in self._utterances
        ]
        self._sample_rate_hz = sample_rate_hz
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self._utterances)

    def __getitem__(self, key: tuple[int, int]) -> Example | BrokenExample:
        """Read one utterance.

        Args:
            key: The epoch and the utterance's index.

        Returns:
            The utterance, or what is wrong with its audio file.
        """
        epoch, index = key
        utterance = self._utterances[index]
        try:
            with _one_thread():
                waveform = self._waveform(utterance, epoch, index)
        except (AudioError, OSError) as error:
            return BrokenExample(message=f"utterance {utterance.id!r}: {error}")
        return Example(
            id=utterance.id,
            waveform=waveform,
            labels=torch.from_numpy(self._labels[index].astype(np.int64)),
        )

    def _waveform(self, utterance: Utterance, epoch: int, index: int) -> Tensor:
        waveform = read_audio(
            utterance.audio_filepath,
            sample_rate_hz=self._sample_rate_hz,
            offset_seconds=utterance.offset_seconds,
            duration_seconds=utterance.duration_seconds,
        )
        if self._augment is None:
            return waveform
        generator = torch.Generator().manual_seed(self._augmentation_seed(epoch, index))
        return self._augment(waveform, generator=generator)

    def duration_factors(self, epoch: int) -> list[float]:
        """Each utterance's duration after augmentation over that before, in an epoch."""
        if self._augment is None:
            return [1.0] * len(self)
        return [
            self._augment.duration_factor(self._augmentation_seed(epoch, index))
            for index in range(len(self))
        ]

    def _augmentation_seed(self, epoch: int, index: int) -> int:
        name = f"{self._seed}/{epoch}/{self._utterances[index].id}"
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        # Torch takes up to 64 bits; 63 of them are the same number signed and unsigned.
        return int.from_bytes(digest, "little") >> 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, as in a loader process: sums differ in their last bit with the threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _text(utterance: Utterance) -> str:
    if utterance.text is None:
        raise ValueError(
            f"utterance {utterance.id!r}: expected a transcript, found none; add `text` to the "
            "manifest or take the utterance out"
        )
    return utterance.text


def collate(examples: Sequence[Example | BrokenExample]) -> Batch | BrokenExample:
    """Pad examples into a batch.

    Args:
        examples: At least one; they keep their order.

    Returns:
        The batch, or the first example that is broken.
    """
    sound: list[Example] = []
    for example in examples:
        if isinstance(example, BrokenExample):
            return example
        sound.append(example)
    waveforms = [example.waveform for example in sound]
    labels = [example.labels for example in sound]
    return Batch(
        ids=tuple(example.id for example in sound),
        waveforms=pad_sequence(waveforms, batch_first=True),
        waveform_lengths=torch.tensor([len(waveform) for waveform in waveforms]),
        labels=pad_sequence(labels, batch_first=True),
        label_lengths=torch.tensor([len(sequence) for sequence in labels]),
    )
