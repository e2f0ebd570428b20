"""SpecAugment: random frequency and time masks on normalised features."""

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.lengths import valid_mask
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpecAugmentConfig:
    """Masks of each utterance; LibriSpeech's are 2 x 27 bins and 2 or more x 100 frames."""

    frequency_masks: int = Field(ge=0)
    """Number of frequency masks."""
    frequency_width_bins: int = Field(ge=0)
    """Largest width of a frequency mask; widths are uniform from 0."""
    time_masks: int = Field(ge=0)
    """Number of time masks."""
    time_width_frames: int = Field(ge=0)
    """Largest width of a time mask; widths are uniform from 0."""
    time_fraction: float = Field(gt=0, le=1)
    """Largest width of a time mask as a fraction of the utterance."""


class SpecAugment(nn.Module):
    """SpecAugment: random frequency and time masks of zero, the mean of normalised features.

    Randomness comes from torch's current generator. Pointwise where not masked.

    Source: Park et al. 2019, section 2; the fraction is their upper bound p; time warping left out.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Mask a batch.

        Args:
            features: (batch, time, feature), normalised.
            lengths: (batch,) int64, frames.

        Returns:
            (batch, time, feature) with the masked bands zero.
        """
        config = self.config
        batch, time, bins = features.shape
        whole = torch.full((batch,), bins, device=features.device)
        hidden_bins = _masks(
            whole.clamp(max=config.frequency_width_bins),
            whole,
            size=bins,
            count=config.frequency_masks,
        )
        widest = (lengths * config.time_fraction).long().clamp(max=config.time_width_frames)
        hidden_frames = _masks(widest, lengths, size=time, count=config.time_masks)
        hidden = hidden_bins.unsqueeze(1) | hidden_frames.unsqueeze(2)
        return features.masked_fill(hidden, 0.0)


def _masks(widest: Tensor, extent: Tensor, *, size: int, count: int) -> Tensor:
    """Union of `count` random intervals inside [0, extent): (batch, size) bool."""
    shape = (extent.shape[0], count)
    device = extent.device
    width = (torch.rand(shape, device=device) * (widest.unsqueeze(1) + 1)).long()
    start = (torch.rand(shape, device=device) * (extent.unsqueeze(1) - width + 1)).long()
    position = torch.arange(size, device=device)
    inside = (position >= start.unsqueeze(2)) & (position < (start + width).unsqueeze(2))
    return inside.any(dim=1) & valid_mask(extent, size)
