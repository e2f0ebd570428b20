"""Transformer-XL's relative-position attention, without a relative shift."""

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
from asr.model.dropout import Dropout
from asr.model.positions import sinusoids
from asr.schema import STRICT

# Added to the scores of padded keys: far below any score, so that their weight is exactly 0.
_FORBIDDEN = -1e9


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransformerXlConfig(AttentionConfig):
    """Relative-position attention has no settings of its own."""

    kind: Literal["transformer_xl"] = "transformer_xl"
    """The word of this mechanism."""


class TransformerXlAttention(Attention):
    """Attention whose scores depend on content and on signed distance.

    score_ij = ((q_i + u) . k_j + (q_i + v) . W_r R_{i-j}) / sqrt(head_dim), with R_{i-j} the
    sinusoids
    of i - j. With c_i = W_r^T (q_i + v) split into the parts a_i and b_i that meet sines and
    cosines,
    the addition theorems give

        c_i . R_{i-j} = (a_i sin(i w) + b_i cos(i w)) . cos(j w) + (b_i sin(i w) - a_i cos(i w)) .
        sin(j w)

    so that the position term is a dot product of a rotated query with a fixed key. One matrix
    product
    gives all scores; no table of 2T - 1 distances and no shift is made.

    Source: Dai et al. 2019, section 3.3; every layer has its own u and v, as in Gulati et al. 2020.
    """

    def __init__(
        self, config: TransformerXlConfig, *, width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))
        self.position_bias = nn.Parameter(torch.zeros(heads, width // heads))
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(width, width)

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return Capabilities(
            modes=frozenset({"offline"}), exact=True, positions="relative", time="T^2", memory="T^2"
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
        table = sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2]).to(query.dtype)
        content_query, masked_key = self._content_pair(query, key, valid_mask)
        scores = content_query @ masked_key.transpose(2, 3)
        scores += self._rotated_query(query, table) @ table.T
        # (batch, head, time, key_time)
        weights = self.dropout(torch.softmax(scores, dim=3))
        output = self.output(join_heads(weights @ value))
        return AttentionOutput(output=torch.where(valid_mask.unsqueeze(2), output, 0.0))

    def _content_pair(
        self, query: Tensor, key: Tensor, valid_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scaled query and key, each with one feature more, whose product forbids padded keys."""
        content = (query + self.content_bias.unsqueeze(1).to(query.dtype)) * query.shape[-1] ** -0.5
        penalty = torch.where(valid_mask, 0.0, _FORBIDDEN).to(key.dtype)[:, None, :, None]
        return (
            nn.functional.pad(content, (0, 1), value=1.0),
            torch.cat([key, penalty.expand(-1, self.heads, -1, -1)], dim=3),
        )

    def _rotated_query(self, query: Tensor, table: Tensor) -> Tensor:
        """Scaled query that meets fixed keys [sin(j w), cos(j w)]: (batch, head, time, width)."""
        heads, head_dim = self.position_bias.shape
        weight = self.position.weight.view(heads, head_dim, -1) * head_dim**-0.5
        # (head, head_dim, width)
        biased = query + self.position_bias.unsqueeze(1).to(query.dtype)
        a, b = (biased @ weight.to(query.dtype)).chunk(2, dim=3)
        sine, cosine = table.chunk(2, dim=1)
        return torch.cat([b * sine - a * cosine, a * sine + b * cosine], dim=3)
