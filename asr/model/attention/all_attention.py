"""Attention over frames and persistent vectors, without feed-forward modules."""

from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AllAttentionConfig(SoftmaxConfig):
    """Persistent vectors take the place of the feed-forward modules: of both in a Conformer.

    Source: Sukhbaatar et al. 2019 (Augmenting Self-attention with Persistent Memory).
    """

    kind: Literal["all_attention"] = "all_attention"
    """The word of this mechanism."""
    positions: Literal["none", "alibi", "relative"] = "relative"
    """What scores know of positions."""
    persistent_vectors: int | Literal["feed_forward"] = "feed_forward"
    """Key-value pairs of each head that do not depend on the input."""
    replaces_feed_forward: bool = True
    """Whether the blocks have no feed-forward modules."""
