"""Linformer: keys and values projected along time to a fixed number of slots."""

from typing import Any, Literal, Self

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention.base import (
    OFFLINE,
    Attention,
    AttentionConfig,
    AttentionOutput,
    AttentionState,
    Capabilities,
    Mode,
    join_heads,
    split_heads,
)
from asr.model.dropout import Dropout
from asr.schema import STRICT

# Frames of a usual utterance, 16 s of 40 ms: what the first projection's scale is made for.
_USUAL_FRAMES = 400


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinformerConfig(AttentionConfig):
    """Slots instead of frames as keys.

    Source: Wang et al. 2020 (Linformer).
    """

    kind: Literal["linformer"] = "linformer"
    """The word of this mechanism."""
    max_length: int = Field(default=2048, gt=0)
    """Longest input in encoder frames; 2048 are 82 s of 40 ms."""
    slots: int = Field(default=256, gt=0)
    """Slots that keys and values are projected to (k)."""
    sharing: Literal["headwise", "key_value", "layerwise"] = "key_value"
    """Who shares a projection: the heads of a layer; its keys and values too; all layers too."""


class LinformerAttention(Attention):
    """Attention to slots, each a learned mixture of all frames.

    A mixture belongs to absolute times: rows of the projection beyond the longest training
    utterance stay untrained, and a longer input is refused.

    Source: Wang et al. 2020, section 4 and its paragraph on parameter sharing.
    """

    def __init__(
        self,
        config: LinformerConfig,
        *,
        width: int,
        heads: int,
        dropout: float,
        layer: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        self.query_key_value = nn.Linear(width, 3 * width)
        projections = 2 if config.sharing == "headwise" else 1
        shape = (projections, config.max_length, config.slots)
        # A slot of independent frames has the variance of one frame at the usual length.
        self.slot_weights = nn.Parameter(torch.randn(shape) * _USUAL_FRAMES**-0.5)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(width, width)
        self._is_shared = False

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return Capabilities(
            modes=frozenset({"offline"}),
            max_length=self.config.max_length,
            exact=False,
            positions="none",
            time="T k",
            memory="T k",
        )

    def share(self, first: Self) -> None:
        """Take over the first layer's projection, if all layers share it."""
        if self.config.sharing == "layerwise":
            self.slot_weights = first.slot_weights
            self._is_shared = True

    def score_bytes(self, frames: int) -> int:
        """None: there are no scores of all pairs; see the contract in `base`."""
        return 0

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: AttentionState | None = None,
    ) -> AttentionOutput:
        """Attend; see the contract in `base`.

        Raises:
            ValueError: The input is longer than `max_length`.
        """
        self.check_mode(mode)
        limit = self.config.max_length
        if not torch.compiler.is_exporting() and x.shape[1] > limit:
            longest = int(valid_mask.sum(dim=1).amax())
            if longest > limit:
                raise ValueError(
                    f"LinformerAttention: expected at most {limit} encoder frames, found "
                    f"{longest}; set model.attention.max_length and train anew, or cut the audio"
                )
        query, key, value = split_heads(self.query_key_value(x), parts=3, heads=self.heads)
        # (batch, head, time, head_dim)
        # What lies beyond the limit is padding.
        key, value = key[:, :, :limit], value[:, :, :limit]
        real = valid_mask[:, None, :limit, None]
        weights = self.slot_weights[:, : key.shape[2]].transpose(1, 2).to(key.dtype)
        # (projection, slot, time)
        key_slots = weights[0] @ key.masked_fill(~real, 0.0)
        value_slots = weights[-1] @ value.masked_fill(~real, 0.0)
        # (batch, head, slot, head_dim)
        scores = (query * query.shape[3] ** -0.5) @ key_slots.transpose(2, 3)
        context = self.dropout(torch.softmax(scores, dim=3)) @ value_slots
        output = self.output(join_heads(context))
        return AttentionOutput(output=torch.where(valid_mask.unsqueeze(2), output, 0.0))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: ANN401
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._is_shared:
            # The first layer saves it; weight files hold no tensor twice.
            del destination[prefix + "slot_weights"]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:  # noqa: ANN401
        if self._is_shared:
            state_dict = {**state_dict, prefix + "slot_weights": self.slot_weights.detach()}
        super()._load_from_state_dict(state_dict, prefix, *args)
