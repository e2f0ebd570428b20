"""Input to queries, keys and values."""

import torch
from torch import Tensor, nn


class CausalProjection(nn.Module):
    """Queries and keys by a causal convolution over time, values by a linear map.

    Source: Li et al. 2019 (LogSparse Transformer), section 4.1.
    """

    def __init__(self, *, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.query_key = nn.Linear(kernel * width, 2 * width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, tail: Tensor) -> Tensor:
        """Project.

        Args:
            x: (batch, time, feature).
            tail: The kernel - 1 frames before `x`; zeros at the start.

        Returns:
            (batch, time, 3 * feature): query, key, value.
        """
        frames = torch.cat([tail, x], dim=1).unfold(1, self.kernel, 1)
        # (batch, time, feature, kernel)
        return torch.cat([self.query_key(frames.flatten(2)), self.value(x)], dim=2)


class LinearProjection(nn.Linear):
    """Queries, keys and values by one linear map, with the call of CausalProjection."""

    def __init__(self, *, width: int) -> None:
        super().__init__(width, 3 * width)

    def forward(self, x: Tensor, tail: Tensor) -> Tensor:  # type: ignore[override]
        """Project (batch, time, feature); no frame before is needed."""
        return super().forward(x)
