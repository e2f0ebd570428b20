"""The plain Transformer encoder."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from asr.model.attention import build_attentions
from asr.model.encoders.base import Encoder, EncoderConfig
from asr.model.stack import transformer_blocks
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
            blocks=transformer_blocks(
                attentions,
                width=config.width,
                feed_forward_expansion=config.feed_forward_expansion,
                dropout=config.dropout,
            ),
            attentions=attentions,
            final_norm=nn.LayerNorm(config.width),
        )
