"""The Conformer encoder."""

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.lengths import valid_mask
from asr.model.attention import OFFLINE, AttentionOutput, Mode, build_attention
from asr.model.convolution import ConvolutionModule
from asr.model.dropout import Dropout
from asr.model.encoders.base import Encoder, EncoderConfig, EncoderOutput, State, add_losses
from asr.model.feed_forward import FeedForward
from asr.model.positions import sinusoids
from asr.model.subsampling import Subsampling
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConformerConfig(EncoderConfig):
    """Section `[model]` of a Conformer."""

    encoder: Literal["conformer"] = "conformer"
    """The word of this encoder."""
    kernel_frames: int = Field(gt=0)
    """Kernel of the depthwise convolution; odd."""
    feed_forward_expansion: int = Field(default=4, gt=0)
    """Hidden width of the feed-forward modules as a multiple of the width."""
    norm: Literal["batch", "layer"] = "batch"
    """Norm inside the convolution module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_frames % 2 == 0:
            raise ValueError(
                "expected an odd kernel, so that it is centred, found kernel_frames = "
                f"{self.kernel_frames}"
            )


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, layer norm.

    Source: Gulati et al. 2020, section 2.2, equation 1.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        hidden_width = config.feed_forward_expansion * width
        self.feed_forward_before = FeedForward(
            width=width, hidden_width=hidden_width, dropout=dropout
        )
        self.attention_norm = nn.LayerNorm(width)
        self.attention = build_attention(
            config.attention, width=width, heads=config.heads, dropout=dropout
        )
        self.dropout = Dropout(dropout)
        self.convolution = ConvolutionModule(
            width=width, kernel=config.kernel_frames, norm=config.norm, dropout=dropout
        )
        self.feed_forward_after = FeedForward(
            width=width, hidden_width=hidden_width, dropout=dropout
        )
        self.output_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, valid: Tensor, mode: Mode) -> AttentionOutput:
        """Map (batch, time, feature) to the same shape, with the attention's losses."""
        x = torch.add(x, self.feed_forward_before(x), alpha=0.5)
        attended = self.attention(self.attention_norm(x), valid, mode=mode)
        x = x + self.dropout(attended.output)
        x = x + self.convolution(x, valid)
        x = torch.add(x, self.feed_forward_after(x), alpha=0.5)
        return AttentionOutput(output=self.output_norm(x), losses=attended.losses)


class ConformerEncoder(Encoder):
    """Subsampling and Conformer blocks."""

    def __init__(self, config: ConformerConfig, *, feature_size: int) -> None:
        super().__init__()
        self.config: ConformerConfig = config
        self.subsampling = Subsampling(
            config.subsampling, feature_size=feature_size, width=config.width
        )
        self.dropout = Dropout(config.dropout)
        blocks = [ConformerBlock(config) for _ in range(config.layers)]
        self.adds_positions = blocks[0].attention.capabilities.positions == "none"
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: State | None = None,
    ) -> EncoderOutput:
        """Encode; see the contract in `base`."""
        x = self.subsampling(features)
        frames = self.subsampling.output_length(lengths)
        valid = valid_mask(frames, x.shape[1])
        if self.adds_positions:
            x = x + sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2])
        x = self.dropout(x)
        losses: dict[str, Tensor] = {}
        intermediates = []
        for number, block in enumerate(self.blocks, start=1):
            result = block(x, valid, mode)
            x = result.output
            add_losses(losses, result.losses)
            if number in self.config.intermediate_layers:
                intermediates.append(x)
        return EncoderOutput(
            output=torch.where(valid.unsqueeze(2), x, 0.0),
            lengths=frames,
            losses=losses,
            intermediates=tuple(intermediates),
        )
