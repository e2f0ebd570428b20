"""The plain Transformer encoder."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from asr.model.attention import Attention, build_attentions
from asr.model.branches import AttentionBranch, Branch, FeedForwardBranch
from asr.model.encoders.base import Encoder, EncoderConfig
from asr.model.stack import Block
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransformerConfig(EncoderConfig):
    """Section `[model]` of a Transformer."""

    encoder: Literal["transformer"] = "transformer"
    """The word of this encoder."""
    feed_forward_expansion: int = Field(default=4, gt=0)
    """Hidden width of the feed-forward modules as a multiple of the width."""


class TransformerEncoder(Encoder):
    """Subsampling and pre-norm Transformer blocks.

    Source: Vaswani et al. 2017, section 3.1, with the norms in front of the branches.
    """

    def __init__(self, config: TransformerConfig, *, feature_size: int) -> None:
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
            final_norm=nn.LayerNorm(config.width),
        )


def _block(config: TransformerConfig, attention: Attention) -> Block:
    """Attention and, unless it replaces it, a feed-forward module."""
    width, dropout = config.width, config.dropout
    branches: list[Branch] = [AttentionBranch(attention, width=width, dropout=dropout)]
    if not attention.capabilities.replaces_feed_forward:
        hidden_width = config.feed_forward_expansion * width
        branches.append(FeedForwardBranch(width=width, hidden_width=hidden_width, dropout=dropout))
    return Block(branches)
