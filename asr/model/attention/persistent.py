"""Keys and values that do not depend on the input."""

from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.attention.columns import FixedColumns


class PersistentVectors(nn.Module):
    """Learned key-value pairs of each head, under the same softmax as the frames.

    They are stored small and multiplied by the root of their size, which raises their learning
    rate. They have no positions.

    Source: Sukhbaatar et al. 2019 (Augmenting Self-attention with Persistent Memory), section 3.
    """

    def __init__(self, count: int | Literal["feed_forward"], *, width: int, heads: int) -> None:
        super().__init__()
        # A feed-forward module of the usual four times the width has as many parameters.
        count = 4 * width if count == "feed_forward" else count
        head_dim = width // heads
        self.key = nn.Parameter(torch.randn(heads, count, head_dim) * head_dim**-0.5)
        self.value = nn.Parameter(torch.randn(heads, count, head_dim) * count**-0.5)

    def columns(self, heads: slice, dtype: torch.dtype) -> FixedColumns:
        """The vectors of some heads."""
        _, count, head_dim = self.key.shape
        key = self.key[heads] * head_dim**0.5
        value = self.value[heads] * count**0.5
        return FixedColumns(key.unsqueeze(0).to(dtype), value.unsqueeze(0).to(dtype))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Keys and values as they are used: (1, head, vector, head_dim)."""
        columns = self.columns(slice(None), self.key.dtype)
        return columns.key, columns.value
