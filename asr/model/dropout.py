"""Dropout that costs one multiplication."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

_POOL_SEED = 20141
_SMALLEST_POOL = 1 << 24


class Dropout(nn.Module):
    """Zero each element with probability p in training and scale the others by 1 / (1 - p).

    On the CPU drawing the random numbers is a third of a training step. There the factors are a
    window, at a random offset, of a fixed pool of independent draws that is at least twice as long
    as
    the input: independent inside one call, and nothing but the pool is stored for the backward
    pass.

    Source: Srivastava et al. 2014.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    @property
    def is_active(self) -> bool:
        """Whether a call drops anything."""
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements; pointwise."""
        if not self.is_active:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        size = max(_SMALLEST_POOL, 1 << (2 * x.numel() - 1).bit_length())
        offset = int(torch.randint(size - x.numel() + 1, ()))
        return x * _pool(self.p, size, x.dtype)[offset : offset + x.numel()].view(x.shape)


@lru_cache(maxsize=8)
def _pool(p: float, size: int, dtype: torch.dtype) -> Tensor:
    """Independent factors, 0 with probability p: (size,)."""
    generator = torch.Generator().manual_seed(_POOL_SEED + int(math.log2(size)))
    kept = torch.empty(size, dtype=torch.bool).bernoulli_(1 - p, generator=generator)
    return kept.to(dtype) / (1 - p)
