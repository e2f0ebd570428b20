"""Lightweight and dynamic convolutions: the short range of long-short range attention."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.attention import Mode
from asr.model.convolution import (
    ConvolutionContext,
    ConvolutionOutput,
    ConvolutionState,
    depthwise_convolution,
)


class LightweightConvolution(nn.Module):
    """Depthwise convolution whose kernels are shared by blocks of features and sum to one.

    Feature c uses kernel floor(c * heads / width). Dropout acts on the normalised kernel.

    Source: Wu et al. 2019 (Pay Less Attention), section 3; DropConnect as in its code.
    """

    def __init__(self, *, width: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(heads, kernel))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, x: Tensor, *, mode: Mode, state: ConvolutionState | None
    ) -> ConvolutionOutput:
        """Convolve (batch, time, feature), zero where not valid."""
        heads, kernel = self.weight.shape
        weight = self.dropout(torch.softmax(self.weight, dim=1))
        weight = weight.repeat_interleave(self.width // heads, dim=0)
        # (feature, kernel)
        context = ConvolutionContext(x, kernel=kernel, mode=mode, state=state)
        convolved = context.restore(depthwise_convolution(context.padded, weight))
        return ConvolutionOutput(convolved, context.state)


class DynamicConvolution(nn.Module):
    """Lightweight convolution whose kernels are computed from each frame.

    Source: Wu et al. 2019 (Pay Less Attention), section 4.
    """

    def __init__(self, *, width: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.kernel = heads, kernel
        self.predict = nn.Linear(width, heads * kernel, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, *, mode: Mode, state: ConvolutionState | None
    ) -> ConvolutionOutput:
        """Convolve (batch, time, feature), zero where not valid."""
        shape = (self.heads, self.kernel)
        weight = torch.softmax(self.predict(x).view(*x.shape[:2], *shape), dim=3)
        weight = self.dropout(weight)
        # (batch, time, head, kernel)
        context = ConvolutionContext(x, kernel=self.kernel, mode=mode, state=state)
        chunk = mode.chunk_frames
        if chunk is not None:
            weight = nn.functional.pad(weight, (0, 0, 0, 0, 0, -weight.shape[1] % chunk))
            weight = weight.reshape(-1, chunk, *shape)
        padded = context.padded.view(*context.padded.shape[:2], self.heads, -1)
        # (sequence, time, head, head_dim)
        time = weight.shape[1]
        convolved = weight[:, :, :, :1] * padded[:, :time]
        for tap in range(1, self.kernel):
            convolved = convolved + weight[:, :, :, tap, None] * padded[:, tap : tap + time]
        return ConvolutionOutput(context.restore(convolved.flatten(2)), context.state)


SHORT_RANGE: Mapping[str, Callable[..., LightweightConvolution | DynamicConvolution]] = {
    "lightweight": LightweightConvolution,
    "dynamic": DynamicConvolution,
}


class ShortRange(nn.Module):
    """Gated projection, lightweight or dynamic convolution, projection.

    Padded frames are set to zero right before the convolution, since the bias before it revives
    them.

    Source: Wu et al. 2020 (Lite Transformer), section 4.
    """

    def __init__(
        self,
        kind: Literal["lightweight", "dynamic"],
        *,
        width: int,
        heads: int,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.gated = nn.Linear(width, 2 * width)
        self.convolution = SHORT_RANGE[kind](
            width=width, heads=heads, kernel=kernel, dropout=dropout
        )
        self.project = nn.Linear(width, width)

    def forward(
        self, x: Tensor, valid_mask: Tensor, *, mode: Mode, state: ConvolutionState | None = None
    ) -> ConvolutionOutput:
        """Map (batch, time, feature) to the same shape; valid frames see valid frames alone."""
        gated = nn.functional.glu(self.gated(x), dim=2)
        gated = gated.masked_fill(~valid_mask.unsqueeze(2), 0.0)
        convolved = self.convolution(gated, mode=mode, state=state)
        return ConvolutionOutput(self.project(convolved.output), convolved.state)
