"""The shape that all recognisers share, and the work that it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Length = TypeVar("Length", int, Tensor)

HEADS = 4
KERNEL_FRAMES = 31
DROPOUT = 0.1
MEL_BINS = 80
VOCAB_SIZE = 1024
_EXPANSION = 4
_SUBSAMPLING_KERNEL = 3
# The backward pass computes two products for each one of the forward pass.
_TRAINING_FACTOR = 3


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Conformer with 4x subsampling, as many channels as features, and a CTC head.

    Args:
        width: Features of each encoder frame.
        layers: Blocks.
    """

    width: int
    layers: int

    @property
    def hidden_width(self) -> int:
        """Hidden features of the feed-forward modules."""
        return _EXPANSION * self.width


def useful_flops(shape: Shape, frames: Sequence[int], *, training: bool) -> int:
    """Floating-point operations that the shape needs for the real frames of a batch.

    Products of matrices and convolutions alone, with relative positions scored once a pair of
    frames; padding, norms, softmax and recomputation do not count. The same for every recogniser,
    whatever it really computes.

    Args:
        shape: The Conformer.
        frames: Feature frames of each utterance.
        training: Whether the backward pass counts too.
    """
    width = shape.width
    half_bins, quarter_bins = halved(MEL_BINS), halved(halved(MEL_BINS))
    total = 0
    for length in frames:
        half, quarter = halved(length), halved(halved(length))
        area = _SUBSAMPLING_KERNEL**2
        subsampling = half * half_bins * area * width + quarter * quarter_bins * area * width**2
        projection = quarter * quarter_bins * width**2
        feed_forward = 2 * 2 * width * shape.hidden_width
        # Query, key, value, output; then two pointwise convolutions, the first for a gated unit.
        matrices = feed_forward + 4 * width**2 + 3 * width**2
        # Scores of content, scores of positions, weighted sum of values.
        attention = 3 * quarter * width
        block = matrices + attention + KERNEL_FRAMES * width
        head = width * (VOCAB_SIZE + 1)
        total += subsampling + projection + quarter * (shape.layers * block + head)
    return 2 * total * (_TRAINING_FACTOR if training else 1)


def halved(size: Length) -> Length:
    """Frames or bins that a convolution of the subsampling leaves of so many."""
    return (size - _SUBSAMPLING_KERNEL) // 2 + 1
