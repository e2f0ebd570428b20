"""Depthwise convolutions over time in every mode, and the Conformer's module with its norms."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from asr.model.attention import Mode
from asr.model.dropout import Dropout


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


_BLOCK_FRAMES = 32


class ConvolutionState(NamedTuple):
    """The frames (batch, time, feature) before a chunk that its first kernels reach."""

    tail: Tensor

    def select(self, index: Tensor) -> "ConvolutionState":
        """The state of some items."""
        return ConvolutionState(self.tail.index_select(0, index))


class ConvolutionContext:
    """What surrounds each frame of a sequence under a mode.

    Offline the kernel is centred. In causal mode it ends at its frame. In chunked mode it is
    centred and sees zeros beyond the end of its chunk.

    Args:
        x: (batch, time, feature), zero where not valid.
        kernel: Odd kernel in frames.
        mode: The mode.
        state: What the previous call returned; None at the start and offline.
    """

    def __init__(
        self, x: Tensor, *, kernel: int, mode: Mode, state: ConvolutionState | None
    ) -> None:
        self._shape, self._chunk_frames = x.shape, mode.chunk_frames
        half = kernel // 2
        self.state = None
        if mode.kind == "offline":
            self.padded = nn.functional.pad(x, (0, 0, half, half))
            return
        left = half if mode.kind == "chunked" else kernel - 1
        tail = x.new_zeros(x.shape[0], left, x.shape[2]) if state is None else state.tail
        x = torch.cat([tail.to(x.dtype), x], dim=1)
        # A copy: a view would keep all of the frames alive.
        self.state = ConvolutionState(x[:, x.shape[1] - left :].detach().clone())
        if mode.chunk_frames is not None:
            short = -self._shape[1] % mode.chunk_frames
            x = nn.functional.pad(x, (0, 0, 0, short))
            x = x.unfold(1, left + mode.chunk_frames, mode.chunk_frames).transpose(2, 3)
            # (batch, chunk, time, feature)
            x = nn.functional.pad(x.flatten(0, 1), (0, 0, 0, half))
        self.padded = x
        """(sequence, time + kernel - 1, feature): what a convolution without padding maps."""

    def restore(self, convolved: Tensor) -> Tensor:
        """Bring what became of `padded` back to the shape of the input."""
        if self._chunk_frames is None:
            return convolved
        batch, time, width = self._shape
        return convolved.reshape(batch, -1, width)[:, :time]


def depthwise_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve each feature with its own kernel, without padding.

    On the CPU blocks of frames are multiplied with a banded (Toeplitz) matrix for each channel.
    oneDNN's depthwise convolution compiles a kernel for every new shape, and in bfloat16 on two
    threads compiling one for 144 features and a kernel of 15 frames did not end within half an
    hour.

    Args:
        x: (batch, time + kernel - 1, feature).
        weight: (feature, kernel).

    Returns:
        (batch, time, feature).
    """
    kernel = weight.shape[1]
    if torch.compiler.is_exporting() or x.device.type != "cpu":
        # Other runtimes and devices have a good operator of their own.
        weight = weight.unsqueeze(1)
        return nn.functional.conv1d(x.transpose(1, 2), weight, groups=len(weight)).transpose(1, 2)
    batch, padded, width = x.shape
    time = padded - kernel + 1
    blocks = (time + _BLOCK_FRAMES - 1) // _BLOCK_FRAMES
    seen = _BLOCK_FRAMES + kernel - 1
    x = nn.functional.pad(x, (0, 0, 0, blocks * _BLOCK_FRAMES - time))
    windows = x.unfold(1, seen, _BLOCK_FRAMES)
    # (batch, block, feature, seen)
    windows = windows.permute(2, 0, 1, 3).reshape(width, batch * blocks, seen)
    convolved = windows @ _bands(weight).to(x.dtype).transpose(1, 2)
    # (feature, batch * block, frame)
    convolved = convolved.view(width, batch, blocks * _BLOCK_FRAMES).permute(1, 2, 0)
    # (batch, time, feature)
    return convolved[:, :time]


def _bands(weight: Tensor) -> Tensor:
    """The kernel of each channel, shifted by one frame a row: (feature, frame, seen)."""
    padded = nn.functional.pad(weight, (_BLOCK_FRAMES - 1, _BLOCK_FRAMES - 1))
    return padded.unfold(1, _BLOCK_FRAMES + weight.shape[1] - 1, 1).flip(1)


class ConvolutionOutput(NamedTuple):
    """(batch, time, feature) and what the next chunk needs, None offline."""

    output: Tensor
    state: ConvolutionState | None


class DepthwiseConvolution(nn.Module):
    """Depthwise convolution over time; the caller masks padding."""

    def __init__(self, *, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(width, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.uniform_(self.weight, -(kernel**-0.5), kernel**-0.5)

    def forward(
        self, x: Tensor, *, mode: Mode, state: ConvolutionState | None
    ) -> ConvolutionOutput:
        """Convolve (batch, time, feature), zero where not valid."""
        context = ConvolutionContext(x, kernel=self.kernel, mode=mode, state=state)
        convolved = context.restore(depthwise_convolution(context.padded, self.weight))
        return ConvolutionOutput(convolved + self.bias.to(convolved.dtype), context.state)


class ConvolutionModule(nn.Module):
    """Layer norm, gated pointwise, depthwise, norm, swish, pointwise, dropout.

    Padded frames are set to zero right before the depthwise convolution, since the biases before it
    revive them, and the norm leaves them out of its statistics.

    Source: Gulati et al. 2020, section 2.1.2.
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

    def forward(
        self, x: Tensor, valid_mask: Tensor, *, mode: Mode, state: ConvolutionState | None = None
    ) -> ConvolutionOutput:
        """Map (batch, time, feature) to the same shape; valid frames see valid frames alone."""
        gated = nn.functional.glu(self.gated(self.input_norm(x)), dim=2)
        gated = gated.masked_fill(~valid_mask.unsqueeze(2), 0.0)
        convolved = self.depthwise(gated, mode=mode, state=state)
        activated = nn.functional.silu(self.norm(convolved.output, valid_mask))
        return ConvolutionOutput(self.dropout(self.pointwise(activated)), convolved.state)
