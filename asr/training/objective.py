"""Training objectives: a model, how a batch becomes its losses, and the step's result."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from asr.ctc import (
    ConsistencyConfig,
    CtcModel,
    consistency_losses,
    ctc_losses,
    mean_of_views,
    two_views,
)
from asr.data.batch import Batch
from asr.features.frontend import Frontend
from asr.features.spec_augment import SpecAugment
from asr.model.attention import OFFLINE, Mode, chunked
from asr.model.encoders import Encoder
from asr.model.trainable import Trainable
from asr.training.config import StreamingTrainingConfig


class StepOutput(NamedTuple):
    """Result of a training step's forward pass.

    A named tuple, as Lightning refuses frozen dataclasses as a module's output, and as torch's
    hooks for distributed training find the tensors in it.

    Args:
        nats: (item,) float32, negative log-likelihood of each item.
        auxiliary: Scalar, the weighted sum of all other losses.
        consistency: Detached scalar, nats a label before its weight; None with one view.
        log_probs: (batch, time, vocab), for validators that decode; None where there are none.
        lengths: (batch,) int64, frames of `log_probs`.
        streaming_log_probs: (batch, time, vocab) with the shortest chunks, in evaluation of a model
            that is trained with chunks; None otherwise.
    """

    nats: Tensor
    auxiliary: Tensor
    consistency: Tensor | None = None
    log_probs: Tensor | None = None
    lengths: Tensor | None = None
    streaming_log_probs: Tensor | None = None


class ChunkModes:
    """Draws the attention mode of each training batch.

    Args:
        config: Which modes.
        encoder: What serves them.

    Raises:
        ValueError: The encoder does not serve one of them.

    Source: Zhang et al. 2020 (U2, arXiv:2012.05481), section 2.3, dynamic chunk training.
    """

    def __init__(self, config: StreamingTrainingConfig, encoder: Encoder) -> None:
        self._offline_probability = config.offline_probability
        lefts = [None if left == "all" else left for left in config.left_frames]
        self._modes = [chunked(*pair) for pair in product(config.chunk_frames, lefts)]
        for mode in self._modes:
            encoder.check_mode(mode)
        known = [left for left in lefts if left is not None]
        self.shortest = chunked(min(config.chunk_frames), min(known, default=None))
        """The mode of the smallest chunk and the least left context."""
        most_left = None if None in lefts else max(known)
        self.largest = (
            OFFLINE if self._offline_probability else chunked(max(config.chunk_frames), most_left)
        )
        """The mode in which frames attend to the most others."""

    def draw(self) -> Mode:
        """A mode, from torch's random numbers on the CPU."""
        if float(torch.rand(())) < self._offline_probability:
            return OFFLINE
        return self._modes[int(torch.randint(len(self._modes), ()))]


class CtcStep(nn.Module):
    """The model and its loss in one forward, so that distributed hooks see all of it.

    Args:
        model: The model that is trained.
        streaming: Chunks of training; None trains offline alone.
        consistency: What two views of each utterance cost in training; None for one view.

    Raises:
        ValueError: The model does not serve the chunks.

    Source: Lee and Watanabe 2021, section 3 (intermediate CTC).
    """

    def __init__(
        self,
        model: CtcModel,
        *,
        streaming: StreamingTrainingConfig | None = None,
        consistency: ConsistencyConfig | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._consistency = consistency
        self._modes = None if streaming is None else ChunkModes(streaming, model.encoder)
        self._takes_largest = False

    @contextmanager
    def largest_mode(self) -> Iterator[None]:
        """Train with the mode that needs the most memory instead of drawing one."""
        self._takes_largest = True
        try:
            yield
        finally:
            self._takes_largest = False

    def forward(
        self, features: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> StepOutput:
        """CTC's losses of a batch.

        Args:
            features: (batch, time, feature); in training with consistency the batch holds all
                utterances in one view, then in the other.
            lengths: (batch,) int64, frames.
            labels: (batch, token) int64.
            label_lengths: (batch,) int64.

        Returns:
            The step's result. In training `nats` is mixed with the mean of the intermediate blocks'
            and is the mean over an utterance's views; `auxiliary` is the sum of the encoder's own
            losses and the weighted consistency.
        """
        mode = OFFLINE
        if self._modes is not None and self.training:
            mode = self._modes.largest if self._takes_largest else self._modes.draw()
        output = self.model(features, lengths, mode=mode)
        ctc = ctc_losses(output.log_probs, output.lengths, labels, label_lengths)
        if output.intermediate_log_probs:
            inner = torch.stack(
                [
                    ctc_losses(log_probs, output.lengths, labels, label_lengths)
                    for log_probs in output.intermediate_log_probs
                ]
            )
            weight = self.model.encoder.config.intermediate_weight
            # No lerp, which makes nothing of two infinite losses.
            ctc = (1 - weight) * ctc + weight * inner.mean(dim=0)
        auxiliary = total_loss(output.losses, like=ctc)
        consistency = streaming_log_probs = None
        if self._consistency is not None and self.training:
            ctc = mean_of_views(ctc)
            count = label_lengths.chunk(2)[0].sum().clamp(min=1)
            consistency = consistency_losses(output.log_probs, output.lengths).sum() / count
            auxiliary = auxiliary + self._consistency.weight * consistency
            consistency = consistency.detach()
        if self._modes is not None and not self.training:
            streaming_log_probs = self.model(features, lengths, mode=self._modes.shortest).log_probs
        return StepOutput(
            nats=ctc,
            auxiliary=auxiliary,
            consistency=consistency,
            log_probs=output.log_probs,
            lengths=output.lengths,
            streaming_log_probs=streaming_log_probs,
        )


def total_loss(losses: Mapping[str, Tensor], *, like: Tensor) -> Tensor:
    """Sum of auxiliary losses, a float32 scalar on the device of `like`; 0 where there is none."""
    return sum((loss.float() for loss in losses.values()), start=like.new_zeros(()))


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
        step: The model and its loss in one forward, which takes what `inputs` gives and returns a
            `StepOutput`.
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
