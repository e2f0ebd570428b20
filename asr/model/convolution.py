"""The Conformer's convolution module."""

from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.dropout import Dropout
from asr.model.norms import build_norm


class DepthwiseConvolution(nn.Module):
    """Depthwise convolution over time, zeros beyond both ends; the caller masks padding."""

    def __init__(self, *, width: int, kernel: int) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.weight = nn.Parameter(torch.empty(width, 1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.uniform_(self.weight, -(kernel**-0.5), kernel**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, time, feature), zero where not valid."""
        # A (batch, feature, 1, time) view in channels-last order spares both transposes.
        image = x.transpose(1, 2).unsqueeze(2)
        convolved = nn.functional.conv2d(
            image, self.weight, self.bias, padding=(0, self.padding), groups=self.weight.shape[0]
        )
        return convolved.squeeze(2).transpose(1, 2)


class ConvolutionModule(nn.Module):
    """Layer norm, gated pointwise, depthwise, norm, swish, pointwise, dropout.

    Source: Gulati et al. 2020, section 2.1.2. Padded frames are set to zero right before the
        depthwise
    convolution, since the biases before it revive them, and the norm leaves them out of its
    statistics.
    """

    def __init__(
        self, *, width: int, kernel: int, norm: Literal["batch", "layer"], dropout: float
    ) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        self.gated = nn.Linear(width, 2 * width)
        self.depthwise = DepthwiseConvolution(width=width, kernel=kernel)
        self.norm = build_norm(norm, width)
        self.pointwise = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (batch, time, feature) to the same shape; valid frames see valid frames alone."""
        gated = nn.functional.glu(self.gated(self.input_norm(x)), dim=2)
        convolved = self.depthwise(gated.masked_fill(~valid_mask.unsqueeze(2), 0.0))
        activated = nn.functional.silu(self.norm(convolved, valid_mask))
        projected: Tensor = self.dropout(self.pointwise(activated))
        return projected
