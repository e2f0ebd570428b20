"""Connectionist temporal classification: the head, the loss, and which utterances it can serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

BLANK = 0


class CtcHead(nn.Module):
    """Log-probabilities of the blank and the token pieces, in float32; pointwise in time."""

    def __init__(self, *, width: int, vocab_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, vocab_size + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, feature) to log-probabilities (batch, time, vocab_size + 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.log_softmax(self.projection(x.float()), dim=2)


@dataclass(frozen=True, kw_only=True)
class Conditioned:
    """What a head makes of a block's output.

    Args:
        output: (batch, time, feature), what the next block gets.
        log_probs: (batch, time, vocab) float32, what it was conditioned on.
    """

    output: Tensor
    log_probs: Tensor


class SelfConditioningHead(CtcHead):
    """A head whose posteriors inside the encoder, mapped back to its width, condition later blocks.

    All blocks share the map, as they share the head.

    Source: Nozaki and Komatsu 2021 (arXiv:2104.02724), self-conditioned CTC.
    """

    def __init__(self, *, width: int, vocab_size: int) -> None:
        super().__init__(width=width, vocab_size=vocab_size)
        self.feedback = nn.Linear(vocab_size + 1, width)

    def condition(self, x: Tensor, normalised: Tensor) -> Conditioned:
        """Add what the posteriors say; pointwise in time.

        Args:
            x: (batch, time, feature), a block's output.
            normalised: Of the same shape, the same as the head takes it.

        Returns:
            The sum and the log-probabilities.
        """
        log_probs = self(normalised)
        return Conditioned(output=x + self.feedback(log_probs.exp()), log_probs=log_probs)


def ctc_losses(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of each transcript, in nats.

    PyTorch's own kernel serves on every device: cuDNN's is chosen only for int32 targets, and gives
    wrong gradients for utterances that are too short.

    Args:
        log_probs: (batch, time, vocab) float32.
        lengths: (batch,) int64, frames.
        labels: (batch, token) int64 in 1 .. vocab - 1.
        label_lengths: (batch,) int64, tokens.

    Returns:
        (batch,) float32; infinite where an utterance has fewer frames than `minimum_frames`.

    Source: Graves et al. 2006, section 4.1.
    """
    return nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        labels.long(),
        lengths.long(),
        label_lengths.long(),
        blank=BLANK,
        reduction="none",
        zero_infinity=False,
    )


def minimum_frames(labels: Sequence[int]) -> int:
    """Fewest frames that can carry these labels: one each, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))
