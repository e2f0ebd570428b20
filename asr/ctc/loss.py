"""CTC loss, and how many frames a transcript needs."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

BLANK = 0


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
