"""Sinusoidal positions."""

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions at geometrically spaced frequencies.

    Args:
        positions: (time,) in frames; may be negative.
        width: Number of features, even.

    Returns:
        (time, width) float32: sines in the first half, cosines in the second.

    Source: Vaswani et al. 2017, section 3.5, in the layout of Dai et al. 2019.
    """
    angles = positions.float().unsqueeze(1) * frequencies(width, positions.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def frequencies(width: int, device: torch.device) -> Tensor:
    """Angular frequencies, in radians a frame: (width / 2,) float32."""
    steps = torch.arange(width // 2, device=device, dtype=torch.float32)
    return torch.exp(steps * (-math.log(10000.0) * 2 / width))
