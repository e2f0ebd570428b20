"""Attention that learns how far to look."""

from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig, SpanConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptiveSpanConfig(SoftmaxConfig):
    """Each head learns its span on either side.

    Source: Sukhbaatar et al. 2019 (Adaptive Attention Span in Transformers).
    """

    kind: Literal["adaptive_span"] = "adaptive_span"
    """The word of this mechanism."""
    positions: Literal["none", "alibi", "relative"] = "relative"
    """What scores know of positions."""
    span: SpanConfig | None = field(default_factory=SpanConfig)
    """Learned spans as the window; None: none."""
