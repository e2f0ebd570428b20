"""One CTC training step and one inference pass of any recogniser, and what they cost."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_LABELS_PER_FRAME = 0.033
_GRADIENT_CLIP_NORM = 5.0
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 1e-3

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class CtcSystem:
    """A recogniser as a training loop sees it.

    Args:
        model: What is trained.
        log_probs: Features (batch, time, feature) and lengths (batch,) to log-probabilities
            (batch, frame, vocab), blank 0, and lengths (batch,).
        losses: Log-probabilities, lengths, labels (batch, token) and their lengths to negative
            log-likelihoods (batch,), in nats.
        groups: What the optimizer takes.
    """

    model: nn.Module
    log_probs: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    losses: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    groups: Iterable[Any]


@dataclass(frozen=True, kw_only=True)
class CtcBatch:
    """What a step is given.

    Args:
        features: (batch, time, feature), zero where padded.
        lengths: (batch,) int64, frames.
        labels: (batch, token) int64; what stands beyond an item's length has no meaning.
        label_lengths: (batch,) int64, tokens.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    label_lengths: Tensor


def random_batch(frames: Sequence[int], *, mel_bins: int, vocab_size: int, device: str) -> CtcBatch:
    """Noise with as many labels as English speech has, at 100 frames a second.

    Args:
        frames: Feature frames of each utterance.
        mel_bins: Features of each frame.
        vocab_size: Token pieces beside the blank.
        device: Where the batch lies.
    """
    lengths = torch.tensor(frames)
    label_lengths = (lengths * _LABELS_PER_FRAME).long().clamp(min=1)
    features = torch.randn(len(frames), max(frames), mel_bins)
    for item, length in zip(features, frames, strict=True):
        item[length:] = 0
    labels = torch.randint(1, vocab_size + 1, (len(frames), int(label_lengths.max())))
    return CtcBatch(
        features=features.to(device),
        lengths=lengths.to(device),
        labels=labels.to(device),
        label_lengths=label_lengths.to(device),
    )


def training_step(system: CtcSystem, batch: CtcBatch, *, bfloat16: bool) -> Callable[[], Tensor]:
    """Forward, CTC loss, backward, clipping and AdamW; a call gives the loss per label.

    Args:
        system: What is trained; it is put into training mode here.
        batch: The same for every step.
        bfloat16: Autocast, as against float32.
    """
    device = batch.features.device.type
    optimizer = torch.optim.AdamW(
        system.groups, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    system.model.train()

    def step() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            log_probs, lengths = system.log_probs(batch.features, batch.lengths)
        losses = system.losses(log_probs, lengths, batch.labels, batch.label_lengths)
        loss = losses.sum() / batch.label_lengths.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(system.model.parameters(), _GRADIENT_CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def inference_pass(system: CtcSystem, batch: CtcBatch, *, bfloat16: bool) -> Callable[[], Tensor]:
    """Features to log-probabilities without gradients; a call gives their mean over real frames.

    Args:
        system: The recogniser; it is put into evaluation mode here.
        batch: The same for every pass.
        bfloat16: Autocast, as against float32.
    """
    device = batch.features.device.type
    system.model.eval()

    @torch.inference_mode()
    def infer() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            log_probs, lengths = system.log_probs(batch.features, batch.lengths)
        # One utterance is enough to see that the pass gave numbers, and costs nothing.
        return log_probs[0, : lengths[0]].mean()

    return infer


def wall_seconds(run: Callable[[], Result], device: str) -> tuple[float, Result]:
    """Time that a call takes, work that it left on the device included, and what it gave."""
    start = time.perf_counter()
    result = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result
