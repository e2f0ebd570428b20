"""Attention mechanisms by word."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from asr.model.attention.adaptive_span import AdaptiveSpanConfig
from asr.model.attention.alibi import AlibiConfig
from asr.model.attention.all_attention import AllAttentionConfig
from asr.model.attention.base import OFFLINE as OFFLINE
from asr.model.attention.base import Attention as Attention
from asr.model.attention.base import AttentionConfig as AttentionConfig
from asr.model.attention.base import AttentionOutput as AttentionOutput
from asr.model.attention.base import AttentionState as AttentionState
from asr.model.attention.base import Capabilities as Capabilities
from asr.model.attention.base import Mode as Mode
from asr.model.attention.base import ParameterGroup as ParameterGroup
from asr.model.attention.base import causal as causal
from asr.model.attention.base import chunked as chunked
from asr.model.attention.full import FullConfig
from asr.model.attention.linformer import LinformerAttention, LinformerConfig
from asr.model.attention.logsparse import LogSparseConfig
from asr.model.attention.longformer import LongformerConfig
from asr.model.attention.performer import PerformerAttention, PerformerConfig
from asr.model.attention.reformer import ReformerAttention, ReformerConfig
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.attention.transformer_xl import TransformerXlConfig


class AttentionBuilder(Protocol):
    """Makes a mechanism from its config and what the stack around it knows.

    Layers count from 1.
    """

    def __call__(
        self,
        config: Any,  # noqa: ANN401
        *,
        width: int,
        heads: int,
        dropout: float,
        layer: int,
        layers: int,
    ) -> Attention:
        """Build."""
        ...


@dataclass(frozen=True)
class AttentionEntry:
    """A mechanism: the class of its settings and its builder."""

    config: type[AttentionConfig]
    build: AttentionBuilder


ATTENTION: Mapping[str, AttentionEntry] = {
    "full": AttentionEntry(FullConfig, SoftmaxAttention),
    "alibi": AttentionEntry(AlibiConfig, SoftmaxAttention),
    "transformer_xl": AttentionEntry(TransformerXlConfig, SoftmaxAttention),
    "adaptive_span": AttentionEntry(AdaptiveSpanConfig, SoftmaxAttention),
    "all_attention": AttentionEntry(AllAttentionConfig, SoftmaxAttention),
    "longformer": AttentionEntry(LongformerConfig, SoftmaxAttention),
    "logsparse": AttentionEntry(LogSparseConfig, SoftmaxAttention),
    "reformer": AttentionEntry(ReformerConfig, ReformerAttention),
    "performer": AttentionEntry(PerformerConfig, PerformerAttention),
    "linformer": AttentionEntry(LinformerConfig, LinformerAttention),
}


def build_attentions(
    config: AttentionConfig, *, width: int, heads: int, dropout: float, layers: int
) -> list[Attention]:
    """Build the mechanism that a config names for each layer of a stack."""
    build = ATTENTION[config.kind].build
    built = [
        build(config, width=width, heads=heads, dropout=dropout, layer=layer, layers=layers)
        for layer in range(1, layers + 1)
    ]
    for attention in built[1:]:
        attention.share(built[0])
    return built
