"""Convolutional subsampling of features over time."""

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.lengths import IntOrTensor, strided_length
from asr.schema import STRICT

_KERNEL = 3
_STRIDE = 2
# Longer inputs go in slices of this many feature frames, which bounds memory.
_SLICE_FRAMES = 8192
# On a CPU in slices whose first convolution has about so many outputs, which its cache holds: a
# third less time, and half of it backward.
_OUTPUTS_IN_CACHE = 1 << 21


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SubsamplingConfig:
    """Section `[model.subsampling]`."""

    factor: Literal[4, 8]
    """Feature frames an encoder frame: 4 by full, 8 by depthwise-separable convolutions."""
    channels: int = Field(gt=0)
    """Channels of the convolutions."""

    @property
    def layers(self) -> int:
        """Strided convolutions."""
        return {4: 2, 8: 3}[self.factor]


class InputConvolution(nn.Conv2d):
    """3 x 3 convolution of stride 2 of an image of one channel, without padding.

    On the CPU a matrix product of its patches. The order of one channel's elements in memory is
    ambiguous, so that the operator answers channel by channel, and what follows copies and mixes
    orders: a third of the time of the subsampling.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels, _KERNEL, _STRIDE)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (batch, 1, time, bin)."""
        if torch.compiler.is_exporting() or image.device.type != "cpu":
            return super().forward(image)
        patches = image.squeeze(1).unfold(1, _KERNEL, _STRIDE).unfold(2, _KERNEL, _STRIDE)
        # (batch, time, bin, row, column)
        convolved = nn.functional.linear(patches.flatten(3), self.weight.flatten(1), self.bias)
        return convolved.permute(0, 3, 1, 2)


class StridedDepthwiseConvolution(nn.Module):
    """3 x 3 depthwise convolution of stride 2 over time and frequency, without padding.

    On the CPU a sum of nine products, since oneDNN's depthwise kernels are not to be trusted (see
    `asr.model.convolution`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, _KERNEL, _KERNEL))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.uniform_(self.weight, -1 / _KERNEL, 1 / _KERNEL)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (batch, channel, time, bin)."""
        if torch.compiler.is_exporting() or image.device.type != "cpu":
            groups = self.weight.shape[0]
            return nn.functional.conv2d(image, self.weight, self.bias, _STRIDE, groups=groups)
        last = [
            strided_length(size, kernel=_KERNEL, stride=_STRIDE) * _STRIDE
            for size in image.shape[2:]
        ]
        convolved = self.bias.to(image.dtype).view(-1, 1, 1)
        for row in range(_KERNEL):
            for column in range(_KERNEL):
                rows = slice(row, row + last[0], _STRIDE)
                columns = slice(column, column + last[1], _STRIDE)
                factor = self.weight[:, :, row, column, None].to(image.dtype)
                convolved = convolved + image[:, :, rows, columns] * factor
        return convolved


class Subsampling(nn.Module):
    """3 x 3 convolutions of stride 2 over time and frequency, without padding, then a projection.

    Without padding no valid output frame sees a padded input frame.

    Source: Gulati et al. 2020, section 2 (4x); Rekesh et al. 2023, section 2 (8x, depthwise).
    """

    def __init__(self, config: SubsamplingConfig, *, feature_size: int, width: int) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        modules: list[nn.Module] = [InputConvolution(channels), nn.ReLU()]
        for _ in range(config.layers - 1):
            if config.factor == 4:
                modules.append(nn.Conv2d(channels, channels, _KERNEL, _STRIDE))
            else:
                modules.append(StridedDepthwiseConvolution(channels))
                modules.append(nn.Conv2d(channels, channels, 1))
            modules.append(nn.ReLU())
        for module in modules:
            if isinstance(module, nn.Conv2d):
                # The order that the projection needs and that convolves fastest on the CPU.
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last
                )
        self.convolutions = nn.Sequential(*modules)
        bins = self.output_length(feature_size)
        if bins < 1:
            raise ValueError(
                f"expected enough features for {config.factor}x subsampling, found "
                f"{feature_size} a frame; change section [features] so that it gives more"
            )
        self.projection = nn.Linear(channels * bins, width)

    @property
    def lookahead(self) -> int:
        """Feature frames that the first encoder frame sees beyond its own `factor` ones."""
        return self._receptive_field() - self.config.factor

    def output_length(self, length: IntOrTensor) -> IntOrTensor:
        """Encoder frames of so many feature frames."""
        for _ in range(self.config.layers):
            length = strided_length(length, kernel=_KERNEL, stride=_STRIDE)
        return length

    def forward(self, features: Tensor) -> Tensor:
        """Subsample.

        Args:
            features: (batch, time, feature).

        Returns:
            (batch, frames, width), frames = output_length(time); frames beyond an item's own
            output length hold no information.
        """
        context = self.lookahead
        short = self.config.factor + context - features.shape[1]
        if short > 0:
            features = nn.functional.pad(features, (0, 0, 0, short))
        size = self._slice_frames(features)
        if torch.compiler.is_exporting() or features.shape[1] <= size:
            return self._subsample(features)
        slices = []
        for start in range(0, features.shape[1] - context, size):
            part = features[:, start : start + size + context]
            if part.shape[1] >= self.config.factor + context:
                slices.append(self._subsample(part))
        return torch.cat(slices, dim=1)

    def _slice_frames(self, features: Tensor) -> int:
        """Feature frames of a slice, a multiple of `factor`."""
        if features.device.type != "cpu":
            return _SLICE_FRAMES
        batch, _, bins = features.shape
        outputs_per_frame = batch * self.config.channels * bins // _STRIDE**2
        frames = min(_OUTPUTS_IN_CACHE // outputs_per_frame, _SLICE_FRAMES)
        return max(frames // self.config.factor, 1) * self.config.factor

    def _receptive_field(self) -> int:
        """Feature frames that one encoder frame sees."""
        field = 1
        for _ in range(self.config.layers):
            field = (field - 1) * _STRIDE + _KERNEL
        return field

    def _subsample(self, features: Tensor) -> Tensor:
        image = features.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        image = self.convolutions(image)
        # (batch, channel, time, bin)
        projected: Tensor = self.projection(image.permute(0, 2, 3, 1).flatten(2))
        # (batch, time, feature)
        return projected
