"""Length arithmetic: valid masks, lengths after strided windows and convolutions."""

from typing import TypeVar

import torch
from torch import Tensor

IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


def valid_mask(lengths: Tensor, max_length: int) -> Tensor:
    """Mark the real frames of a padded batch.

    Args:
        lengths: (batch,) int64, frames of each item.
        max_length: Frames of the padded batch.

    Returns:
        (batch, time) bool, True where the frame is real.
    """
    frames = torch.arange(max_length, device=lengths.device)
    return frames < lengths.unsqueeze(1)


def strided_length(
    length: IntOrTensor, *, kernel: int, stride: int, padding: int = 0
) -> IntOrTensor:
    """Length after a convolution over time; never negative.

    Args:
        length: Input frames, an int or an int64 tensor of any shape.
        kernel: Kernel size in frames.
        stride: Stride in frames.
        padding: Zero frames added on each side.

    Returns:
        Output frames, of the type and shape of `length`.
    """
    frames = (length + 2 * padding - kernel) // stride + 1
    if isinstance(frames, Tensor):
        return frames.clamp(min=0)
    return max(frames, 0)


def rounded_length(length: int) -> int:
    """The next of a few lengths: 64 frames apart, and from 1024 on an eighth of a power of two.

    oneDNN compiles its CPU kernels anew for every shape. On batches of a hundred different lengths
    that took seven times as long as the training itself; on a few lengths it is paid once.
    """
    step = max(64, (1 << (length.bit_length() - 1)) // 8)
    return -(-length // step) * step
