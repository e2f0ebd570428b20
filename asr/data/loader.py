"""Loaders: batches for training that can resume in the middle of an epoch, and for validation."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypedDict, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from asr.data.batch import Batch
from asr.data.dataset import SpeechDataset, WaveformTransform
from asr.data.filtering import TrainingUtterances, filter_utterances
from asr.data.manifest import Utterance, read_manifest
from asr.data.sampler import DurationBatchSampler, evaluation_batches
from asr.data.workers import loaded_batches, make_torch_loader
from asr.schema import STRICT

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """Settings of training and validation data: the section `[data]`."""

    train: Path | None = None
    """Manifest to train on; checked when used."""
    validation: Path | None = None
    """Manifest to validate on; checked when used."""
    tokenizer: Path | None = None
    """Folder of the tokenizer; checked when used."""
    batch_seconds: float = Field(gt=0)
    """Audio seconds of a batch with its padding: longest utterance times number of utterances."""
    min_seconds: float = Field(default=0.1, ge=0)
    """Shorter utterances are left out of training, in seconds before speed perturbation."""
    max_seconds: float = 35.0
    """Longer utterances are left out of training, in seconds before speed perturbation."""
    workers: int = Field(ge=0)
    """Loader processes; 0 loads in the training process."""
    buckets: int = Field(ge=1)
    """Duration buckets inside which utterances are shuffled into batches."""

    def __post_init__(self) -> None:
        if self.max_seconds <= self.min_seconds:
            raise ValueError(
                f"expected max_seconds above min_seconds, found {self.max_seconds:g} and "
                f"{self.min_seconds:g}; raise max_seconds"
            )


class LoaderState(TypedDict):
    """Resume position of a loader: the epoch of the next batch, and its number in that epoch."""

    epoch: int
    next_batch: int


AnyBatch_co = TypeVar("AnyBatch_co", covariant=True)


class ResumableLoader(Protocol[AnyBatch_co]):
    """Contract of a resumable loader: batches of one epoch at a time, from the position set."""

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        ...

    def __iter__(self) -> Iterator[AnyBatch_co]:
        """The remaining batches of the epoch."""
        ...

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to a position."""
        ...


class TrainingLoader:
    """Resumable loader of training batches, one epoch at a time, from the position set.

    `iter()` goes on from the current position to the end of its epoch; after that the next `iter()`
    is the next epoch. The position counts the batches that were handed out, not those that workers
    have prepared.

    Args:
        dataset: Utterances by (epoch, index).
        sampler: Batches of an epoch.
        workers: Loader processes; 0 loads in this process.
        pin_memory: Whether batches lie in page-locked memory, for a GPU.
    """

    def __init__(
        self,
        dataset: SpeechDataset,
        sampler: DurationBatchSampler,
        *,
        workers: int,
        pin_memory: bool = False,
    ) -> None:
        self._sampler = sampler
        self._epoch = 0
        self._next_batch = 0
        self._keys: list[list[tuple[int, int]]] = []
        self._loader = make_torch_loader(
            dataset, self._keys, workers=workers, persistent=True, pin_memory=pin_memory
        )

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[Batch]:
        """The remaining batches of the epoch.

        Raises:
            AudioError: An audio file cannot be read; the message names utterance and file.
        """
        epoch, start = self._epoch, self._next_batch
        self._keys[:] = [
            [(epoch, index) for index in batch] for batch in self._sampler.batches(epoch)[start:]
        ]
        for next_batch, batch in enumerate(loaded_batches(self._loader), start=start + 1):
            finished = next_batch == len(self)
            self._epoch = epoch + 1 if finished else epoch
            self._next_batch = 0 if finished else next_batch
            yield batch

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to a position.

        Raises:
            ValueError: The epoch has no such batch.
        """
        if not 0 <= state["next_batch"] < len(self):
            raise ValueError(
                f"expected next_batch in 0 .. {len(self) - 1}, found {state['next_batch']}; resume "
                "with the data, batch_seconds and number of processes of the saved run"
            )
        self._epoch = state["epoch"]
        self._next_batch = state["next_batch"]


class EvaluationLoader:
    """Loader of every utterance once, by falling duration, not augmented; the same at each iter().

    Args:
        dataset: Utterances by (epoch, index).
        batches: Indices of this process's batches.
        workers: Loader processes; 0 loads in this process.
        pin_memory: Whether batches lie in page-locked memory, for a GPU.
    """

    def __init__(
        self,
        dataset: SpeechDataset,
        batches: Sequence[Sequence[int]],
        *,
        workers: int,
        pin_memory: bool = False,
    ) -> None:
        self._keys = [[(0, index) for index in batch] for batch in batches]
        self._loader = make_torch_loader(
            dataset, self._keys, workers=workers, persistent=False, pin_memory=pin_memory
        )

    def __len__(self) -> int:
        """Batches on this process; as many on every process unless each batch is one utterance."""
        return len(self._keys)

    def __iter__(self) -> Iterator[Batch]:
        """All batches of this process.

        Raises:
            AudioError: An audio file cannot be read; the message names utterance and file.
        """
        return loaded_batches(self._loader)


def load_training_utterances(
    config: DataConfig,
    *,
    encode: Callable[[str], list[int]],
    fits: Callable[[float, list[int]], bool],
    unknown_characters: Callable[[str], set[str]],
) -> TrainingUtterances:
    """Read the training manifest and leave out what cannot be trained on.

    Args:
        config: The manifest and the limits of duration.
        encode: As in `filter_utterances`.
        fits: As in `filter_utterances`.
        unknown_characters: As in `filter_utterances`.

    Returns:
        Utterances for `build_training_loader`, and what was left out.

    Raises:
        FileNotFoundError: The manifest does not exist.
        ValueError: No manifest is given, or what `read_manifest` and `filter_utterances` raise.
    """
    if config.train is None:
        raise ValueError("expected a manifest to train on, found none; set data.train")
    return filter_utterances(
        read_manifest(config.train),
        min_seconds=config.min_seconds,
        max_seconds=config.max_seconds,
        encode=encode,
        fits=fits,
        unknown_characters=unknown_characters,
    )


def build_training_loader(
    config: DataConfig,
    utterances: Sequence[Utterance],
    *,
    encode: Callable[[str], list[int]],
    augment: WaveformTransform | None,
    sample_rate_hz: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> TrainingLoader:
    """Make the loader of the training data.

    Args:
        config: Batches and workers.
        utterances: What to train on, as `load_training_utterances` leaves it.
        encode: From text to labels, 1 .. number of pieces.
        augment: Change of the waveforms; None leaves them as they are.
        sample_rate_hz: Rate of the waveforms.
        seed: Seed of batches and augmentation.
        rank: This process, 0 .. world_size - 1.
        world_size: Processes that share an epoch.
        pin_memory: Whether batches lie in page-locked memory, for a GPU.

    Returns:
        The loader, at the start of epoch 0.

    Raises:
        ValueError: An utterance has no text, or there are fewer utterances than processes.
    """
    processors = os.cpu_count() or config.workers
    if config.workers > processors:
        logger.warning(
            "data.workers is %d where there are %d processors: loading and the model will wait for "
            "each other; lower it",
            config.workers,
            processors,
        )
    dataset = SpeechDataset(
        utterances, encode=encode, sample_rate_hz=sample_rate_hz, augment=augment, seed=seed
    )
    sampler = DurationBatchSampler(
        [utterance.duration_seconds for utterance in utterances],
        batch_seconds=config.batch_seconds,
        seed=seed,
        rank=rank,
        world_size=world_size,
        buckets=config.buckets,
        duration_factors=None if augment is None else dataset.duration_factors,
    )
    return TrainingLoader(dataset, sampler, workers=config.workers, pin_memory=pin_memory)


def build_validation_loader(
    config: DataConfig,
    utterances: Sequence[Utterance],
    *,
    encode: Callable[[str], list[int]],
    sample_rate_hz: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> EvaluationLoader:
    """Make the loader of the validation data: nothing is dropped or augmented.

    Args:
        config: Batches and workers.
        utterances: All that is to be validated on, with text.
        encode: From text to labels, 1 .. number of pieces.
        sample_rate_hz: Rate of the waveforms.
        rank: This process, 0 .. world_size - 1.
        world_size: Processes that share the utterances.
        pin_memory: Whether batches lie in page-locked memory, for a GPU.

    Returns:
        The loader of this process's share.

    Raises:
        ValueError: An utterance has no text, or there are fewer utterances than processes.
    """
    dataset = SpeechDataset(
        utterances, encode=encode, sample_rate_hz=sample_rate_hz, augment=None, seed=0
    )
    batches = evaluation_batches(
        [utterance.duration_seconds for utterance in utterances],
        batch_seconds=config.batch_seconds,
        rank=rank,
        world_size=world_size,
    )
    return EvaluationLoader(dataset, batches, workers=config.workers, pin_memory=pin_memory)
