"""The Conformer encoder."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from asr.model.attention import Attention, build_attentions
from asr.model.branches import AttentionBranch, Branch, ConvolutionBranch, FeedForwardBranch
from asr.model.convolution import ConvolutionModule
from asr.model.encoders.base import Encoder, EncoderConfig
from asr.model.stack import Block
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
        if self.reversible and self.norm == "batch":
            raise ValueError(
                'expected norm = "layer" in reversible blocks, found "batch": its statistics '
                "would be updated twice a step"
            )


class ConformerEncoder(Encoder):
    """Subsampling and Conformer blocks.

    An attention that replaces the feed-forward module takes the place of both halves. Reversible
    blocks have no norm at their end; one follows the stack instead.
    """

    def __init__(self, config: ConformerConfig, *, feature_size: int) -> None:
        attentions = build_attentions(
            config.attention,
            width=config.width,
            heads=config.heads,
            dropout=config.dropout,
            layers=config.layers,
        )
        super().__init__(
            config,
            feature_size=feature_size,
            blocks=[_block(config, attention) for attention in attentions],
            attentions=attentions,
            final_norm=nn.LayerNorm(config.width) if config.reversible else None,
        )


def _block(config: ConformerConfig, attention: Attention) -> Block:
    """Half a feed-forward step, attention, convolution, half a feed-forward step, layer norm.

    Source: Gulati et al. 2020, section 2.2, equation 1.
    """
    width, dropout = config.width, config.dropout
    branches: list[Branch] = [
        AttentionBranch(attention, width=width, dropout=dropout),
        ConvolutionBranch(
            ConvolutionModule(
                width=width, kernel=config.kernel_frames, norm=config.norm, dropout=dropout
            )
        ),
    ]
    if not attention.capabilities.replaces_feed_forward:
        hidden_width = config.feed_forward_expansion * width
        before, after = (
            FeedForwardBranch(width=width, hidden_width=hidden_width, dropout=dropout, scale=0.5)
            for _ in range(2)
        )
        branches = [before, *branches, after]
    return Block(branches, output_norm=None if config.reversible else nn.LayerNorm(width))
