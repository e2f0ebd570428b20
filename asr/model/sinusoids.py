"""Sinusoidal positions."""

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions at geometrically spaced frequencies.

    Args:
        positions: (..., time) in frames; may be negative.
        width: Number of features, even.

    Returns:
        (..., time, width) float32: sines in the first half, cosines in the second.

    Source: Vaswani et al. 2017, section 3.5, in the layout of Dai et al. 2019.
    """
    # In float64: after an hour float32 is wrong by hundredths of a radian.
    steps = torch.arange(width // 2, device=positions.device, dtype=torch.float64)
    frequencies = torch.exp(steps * (-math.log(10000.0) * 2 / width))
    angles = positions.unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()
