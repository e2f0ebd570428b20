"""Full softmax attention; the encoder adds the positions."""

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention.base import (
    OFFLINE,
    Attention,
    AttentionConfig,
    AttentionOutput,
    Capabilities,
    Mode,
)
from asr.model.attention.heads import join_heads, split_heads
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullConfig(AttentionConfig):
    """Full attention has no settings of its own."""

    kind: Literal["full"] = "full"
    """The word of this mechanism."""


class FullAttention(Attention):
    """Multi-head scaled dot-product attention over all valid frames.

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, config: FullConfig, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return Capabilities(
            modes=frozenset({"offline"}), exact=True, positions="none", time="T^2", memory="T"
        )

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: tuple[Tensor, ...] | None = None,
    ) -> AttentionOutput:
        """Attend; see the contract in `base`."""
        self.check_mode(mode)
        query, key, value = split_heads(self.query_key_value(x), parts=3, heads=self.heads)
        # (batch, head, time, head_dim)
        context = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=valid_mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        output = self.output(join_heads(context))
        return AttentionOutput(output=torch.where(valid_mask.unsqueeze(2), output, 0.0))
