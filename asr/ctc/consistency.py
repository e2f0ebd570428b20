"""Consistency-regularised CTC: two masked views of each utterance teach each other.

Source: Yao et al. 2025 (CR-CTC, arXiv:2410.05101), section 3.
"""

from dataclasses import replace

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.features.spec_augment import SpecAugmentConfig
from asr.lengths import valid_mask
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConsistencyConfig:
    """Section `[training.consistency]`: CR-CTC, two views of each utterance that teach each other.

    Each batch goes through the model twice, with masks and dropout of its own, so that a step takes
    the memory, and nearly the time, of twice `data.batch_seconds`.

    Source: Yao et al. 2025 (arXiv:2410.05101); the defaults are theirs.
    """

    weight: float = Field(default=0.2, gt=0)
    """Weight of the divergence of the views beside the mean of their CTC losses, both summed over
    the frames of an utterance."""
    time_mask_factor: float = Field(default=2.5, ge=1)
    """Time masks of a view for each one of `[augmentation.spec_augment]`; their number is rounded,
    their width stays."""


def two_views(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor (utterance, ...) twice along its first axis: one batch, so that one pass."""
    return tuple(torch.cat([tensor, tensor]) for tensor in tensors)


def mean_of_views(values: Tensor) -> Tensor:
    """Mean over both views of each utterance: (2 * utterance,) to (utterance,)."""
    first, second = values.chunk(2)
    return (first + second) / 2


def consistency_losses(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """How far apart the label distributions of two views are.

    As in the paper, the sum over frames, not their mean: on the scale of an utterance's CTC loss,
    so that the weight is the published one.

    Args:
        log_probs: (2 * utterance, time, vocab) float32, all utterances in one view, then in the
            other.
        lengths: (2 * utterance,) int64, frames.

    Returns:
        (utterance,) float32, nats: over the valid frames, half the sum of the Kullback-Leibler
        divergences of each view from the other, which is its target and takes no gradient from it.
    """
    first, second = log_probs.detach().chunk(2)
    divergence = torch.nn.functional.kl_div(
        log_probs, torch.cat([second, first]), reduction="none", log_target=True
    ).sum(dim=2)
    valid = valid_mask(lengths, log_probs.shape[1])
    return mean_of_views(divergence.masked_fill(~valid, 0.0).sum(dim=1))


def more_time_masks(config: SpecAugmentConfig, factor: float) -> SpecAugmentConfig:
    """The masks of one view.

    Our bound is that of each mask's width. The paper's is that of all of them together, which grows
    by the same factor: more masks, each as wide as before.

    Args:
        config: The masks without consistency.
        factor: How many times as many time masks, rounded.

    Returns:
        The same with more time masks.
    """
    return replace(config, time_masks=round(config.time_masks * factor))
