"""Attention mechanisms by word."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from asr.model.attention.base import OFFLINE as OFFLINE
from asr.model.attention.base import Attention as Attention
from asr.model.attention.base import AttentionConfig as AttentionConfig
from asr.model.attention.base import AttentionOutput as AttentionOutput
from asr.model.attention.base import Capabilities as Capabilities
from asr.model.attention.base import Mode as Mode
from asr.model.attention.base import causal as causal
from asr.model.attention.base import chunked as chunked
from asr.model.attention.full import FullAttention, FullConfig
from asr.model.attention.transformer_xl import TransformerXlAttention, TransformerXlConfig


class AttentionBuilder(Protocol):
    """Makes a mechanism from its config and what the block around it knows."""

    def __call__(self, config: Any, *, width: int, heads: int, dropout: float) -> Attention:  # noqa: ANN401
        """Build."""
        ...


@dataclass(frozen=True)
class AttentionEntry:
    """A mechanism: the class of its settings and its builder."""

    config: type[AttentionConfig]
    build: AttentionBuilder


ATTENTION: Mapping[str, AttentionEntry] = {
    "full": AttentionEntry(FullConfig, FullAttention),
    "transformer_xl": AttentionEntry(TransformerXlConfig, TransformerXlAttention),
}


def build_attention(
    config: AttentionConfig, *, width: int, heads: int, dropout: float
) -> Attention:
    """Build the mechanism that a config names."""
    return ATTENTION[config.kind].build(config, width=width, heads=heads, dropout=dropout)
