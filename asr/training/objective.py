"""What is trained: a model, and how a batch becomes losses."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from asr.ctc import ConsistencyConfig, CtcModel, two_views
from asr.data.batch import Batch
from asr.features.frontend import Frontend
from asr.features.spec_augment import SpecAugment
from asr.model.trainable import Trainable
from asr.training.config import StreamingTrainingConfig
from asr.training.step_module import CtcStep


class TrainingBatch(Protocol):
    """What a loader hands out."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the items, for messages."""
        ...

    @property
    def label_count(self) -> Tensor:
        """Labels that the loss is a mean over, a scalar."""
        ...

    @property
    def size(self) -> str:
        """How large it is, in words."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch with its tensors on `device`."""
        ...


class Objective(ABC):
    """A model and its losses.

    Args:
        model: What is trained.
        step: The model and its loss in one forward, which takes what `inputs` gives. It returns
            `nats`, (item,) float32, the negative log-likelihood of each item; `auxiliary`, a
            scalar; where there are two views, `consistency`, a scalar; and whatever the validator
            needs.
    """

    speed: str
    """The column of metrics that says what is trained on in a second."""
    batch_setting: str
    """The setting that makes batches smaller."""

    def __init__(self, model: Trainable, step: nn.Module) -> None:
        self.model, self.step = model, step

    def to(self, device: torch.device) -> None:
        """Move what is not part of the model."""
        return

    @contextmanager
    def largest_pass(self) -> Iterator[None]:
        """Where the step varies by itself, let it take what needs the most memory."""
        yield

    @abstractmethod
    def inputs(self, batch: Any, *, augment: bool) -> tuple[Tensor, ...]:  # noqa: ANN401
        """What the step takes, of a batch on the device."""

    @abstractmethod
    def amount(self, batch: Any) -> Tensor:  # noqa: ANN401
        """How much a batch holds, a scalar in the unit of `speed`."""

    def room(self, batch: Any) -> Tensor | float:  # noqa: ANN401
        """How much it would hold without padding."""
        return self.amount(batch)


class CtcObjective(Objective):
    """CTC on features of waveforms.

    Args:
        model: The recogniser.
        extractor: Waveform to features.
        spec_augment: Masks on training features; None leaves them whole.
        streaming: Chunks of training; None trains offline alone.
        consistency: Two views of each utterance in training; None makes one.
    """

    speed = "audio_seconds_per_second"
    batch_setting = "data.batch_seconds"

    def __init__(
        self,
        model: CtcModel,
        *,
        extractor: Frontend,
        spec_augment: SpecAugment | None,
        streaming: StreamingTrainingConfig | None,
        consistency: ConsistencyConfig | None,
    ) -> None:
        super().__init__(model, CtcStep(model, streaming=streaming, consistency=consistency))
        self._extractor, self._spec_augment = extractor, spec_augment
        self._views = consistency is not None

    def to(self, device: torch.device) -> None:
        """Move the extractor."""
        self._extractor = self._extractor.to(device)

    @contextmanager
    def largest_pass(self) -> Iterator[None]:
        """With chunks: all frames at once, or the largest chunks."""
        assert isinstance(self.step, CtcStep)
        with self.step.largest_mode():
            yield

    @torch.no_grad()
    def inputs(self, batch: Batch, *, augment: bool) -> tuple[Tensor, ...]:
        """Features and labels with their lengths; twice with different masks where asked for."""
        computed = self._extractor(batch.waveforms, batch.waveform_lengths)
        inputs: tuple[Tensor, ...] = (
            computed.features,
            computed.lengths,
            batch.labels,
            batch.label_lengths,
        )
        if augment and self._views:
            inputs = two_views(*inputs)
        if augment and self._spec_augment is not None:
            features, lengths, *labels = inputs
            inputs = (self._spec_augment(features, lengths), lengths, *labels)
        return inputs

    def amount(self, batch: Batch) -> Tensor:
        """Seconds of audio."""
        return batch.waveform_lengths.sum() / self._extractor.config.sample_rate_hz

    def room(self, batch: Batch) -> float:
        """Seconds of audio and padding."""
        return batch.waveforms.numel() / self._extractor.config.sample_rate_hz
