"""The Conformer's convolution module."""

from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.dropout import Dropout
from asr.model.norms import build_norm

_BLOCK_FRAMES = 32


class DepthwiseConvolution(nn.Module):
    """Depthwise convolution over time, zeros beyond both ends; the caller masks padding.

    Blocks of frames are multiplied with a banded (Toeplitz) matrix for each channel. oneDNN's
    depthwise convolution compiles a kernel for every new shape, and in bfloat16 on two threads
    compiling one for 144 features and a kernel of 15 frames did not end within half an hour.
    """

    def __init__(self, *, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(width, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.uniform_(self.weight, -(kernel**-0.5), kernel**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, time, feature), zero where not valid."""
        if torch.compiler.is_exporting() or x.device.type != "cpu":
            # Other runtimes and devices have a good operator of their own.
            return nn.functional.conv1d(
                x.transpose(1, 2),
                self.weight.unsqueeze(1),
                self.bias,
                padding=self.kernel // 2,
                groups=self.weight.shape[0],
            ).transpose(1, 2)
        batch, time, width = x.shape
        blocks = (time + _BLOCK_FRAMES - 1) // _BLOCK_FRAMES
        left = self.kernel // 2
        right = blocks * _BLOCK_FRAMES - time + self.kernel - 1 - left
        seen = _BLOCK_FRAMES + self.kernel - 1
        windows = nn.functional.pad(x, (0, 0, left, right)).unfold(1, seen, _BLOCK_FRAMES)
        # (batch, block, feature, seen)
        windows = windows.permute(2, 0, 1, 3).reshape(width, batch * blocks, seen)
        convolved = windows @ self._bands().to(x.dtype).transpose(1, 2)
        # (feature, batch * block, frame)
        convolved = convolved.view(width, batch, blocks * _BLOCK_FRAMES).permute(1, 2, 0)
        # (batch, time, feature)
        return convolved[:, :time] + self.bias.to(convolved.dtype)

    def _bands(self) -> Tensor:
        """The kernel of each channel, shifted by one frame a row: (feature, frame, seen)."""
        padded = nn.functional.pad(self.weight, (_BLOCK_FRAMES - 1, _BLOCK_FRAMES - 1))
        return padded.unfold(1, _BLOCK_FRAMES + self.kernel - 1, 1).flip(1)


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
