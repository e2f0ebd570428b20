"""The Lite Transformer encoder: long-short range attention."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from asr.model.attention import Attention, build_attentions
from asr.model.branches import Branch, FeedForwardBranch, LongShortBranch
from asr.model.encoders.base import Encoder, EncoderConfig
from asr.model.long_short import ShortRange
from asr.model.stack import Block
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LiteTransformerConfig(EncoderConfig):
    """Section `[model]` of a Lite Transformer."""

    encoder: Literal["lite_transformer"] = "lite_transformer"
    """The word of this encoder."""
    convolution: Literal["lightweight", "dynamic"] = "lightweight"
    """Short range: fixed kernels, or kernels computed from each frame."""
    convolution_heads: int = Field(default=4, gt=0)
    """Kernels that the features of the short range share."""
    kernel_frames: int | tuple[int, ...] = (3, 7, 15, 31)
    """Kernels of the layers, odd; the last one serves all further layers."""
    feed_forward_expansion: int = Field(default=1, gt=0)
    """Hidden width of the feed-forward modules as a multiple of the width; 1 is flattened."""

    def __post_init__(self) -> None:
        super().__post_init__()
        half = self.width // 2
        if self.width % 2 or half % (2 * self.heads) or half % self.convolution_heads:
            raise ValueError(
                "expected half the width to be a multiple of 2 x heads and of convolution_heads, "
                f"found width {self.width}, {self.heads} heads and {self.convolution_heads} "
                "convolution heads"
            )
        if not self.kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(
                f"expected odd kernels, so that they are centred, found {self.kernel_frames}"
            )

    @property
    def kernels(self) -> tuple[int, ...]:
        """The kernel of each layer."""
        given = (
            self.kernel_frames if isinstance(self.kernel_frames, tuple) else (self.kernel_frames,)
        )
        return tuple(given[min(layer, len(given) - 1)] for layer in range(self.layers) if given)


class LiteTransformerEncoder(Encoder):
    """Subsampling and blocks of long-short range attention and a feed-forward module.

    Source: Wu et al. 2020 (Lite Transformer), section 4, with the norms in front of the branches.
    """

    def __init__(self, config: LiteTransformerConfig, *, feature_size: int) -> None:
        attentions = build_attentions(
            config.attention,
            width=config.width // 2,
            heads=config.heads,
            dropout=config.dropout,
            layers=config.layers,
        )
        super().__init__(
            config,
            feature_size=feature_size,
            blocks=[
                _block(config, attention, kernel)
                for attention, kernel in zip(attentions, config.kernels, strict=True)
            ],
            attentions=attentions,
            final_norm=nn.LayerNorm(config.width),
        )


def _block(config: LiteTransformerConfig, attention: Attention, kernel: int) -> Block:
    """Long-short range attention and, unless the attention replaces it, a feed-forward module."""
    width, dropout = config.width, config.dropout
    short_range = ShortRange(
        config.convolution,
        width=width // 2,
        heads=config.convolution_heads,
        kernel=kernel,
        dropout=dropout,
    )
    branches: list[Branch] = [LongShortBranch(attention, short_range, width=width, dropout=dropout)]
    if not attention.capabilities.replaces_feed_forward:
        hidden_width = config.feed_forward_expansion * width
        branches.append(FeedForwardBranch(width=width, hidden_width=hidden_width, dropout=dropout))
    return Block(branches)
