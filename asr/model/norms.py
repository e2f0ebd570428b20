"""Normalisation that ignores padding."""

from typing import Literal

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the valid frames of a batch.

    Source: Ioffe and Szegedy 2015, with sums restricted to valid frames.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: (batch, time, feature).
            valid_mask: (batch, time) bool.

        Returns:
            (batch, time, feature) of the type of `x`; frames that are not valid hold no
            information.
        """
        if self.training:
            mean, variance = self._batch_statistics(x, valid_mask)
        else:
            mean, variance = self.running_mean, self.running_variance
        scale = self.weight * (variance + self.epsilon).rsqrt()
        return torch.addcmul((self.bias - mean * scale).to(x.dtype), x, scale.to(x.dtype))

    def _batch_statistics(self, x: Tensor, valid_mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = valid_mask.reshape(1, -1).float()
        flat = x.reshape(-1, x.shape[2]).float()
        # (batch * time, feature)
        count = weights.sum().clamp(min=1)
        with torch.autocast(x.device.type, enabled=False):
            mean = (weights @ flat).squeeze(0) / count
            variance = (weights @ (flat - mean).square()).squeeze(0) / count
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            # A single frame has no variance, and none has no mean.
            momentum = self.momentum * (weights.sum() > 1)
            self.running_mean.lerp_(mean, momentum)
            self.running_variance.lerp_(unbiased, momentum)
        return mean, variance


class MaskedLayerNorm(nn.LayerNorm):
    """Layer normalisation of each frame, with the call of MaskedBatchNorm; pointwise in time."""

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise (batch, time, feature); the mask is not needed."""
        return super().forward(x)


def build_norm(kind: Literal["batch", "layer"], width: int) -> nn.Module:
    """The norm of a convolution module."""
    return MaskedBatchNorm(width) if kind == "batch" else MaskedLayerNorm(width)
