"""Small experiments that put each paper's headline to a test that could fail."""

from collections.abc import Mapping

from asr.claims.capacity import (
    ADAPTIVE_SPAN,
    ALL_ATTENTION,
    CONFORMER,
    LITE_TRANSFORMER,
    LOGSPARSE,
)
from asr.claims.claim import Claim as Claim
from asr.claims.growth import GROWTH, PERFORMER, REFORMER, REVERSIBLE
from asr.claims.positions import ALIBI, TRANSFORMER_XL

CLAIMS: Mapping[str, Claim] = {
    "alibi": ALIBI,
    "transformer_xl": TRANSFORMER_XL,
    "adaptive_span": ADAPTIVE_SPAN,
    "all_attention": ALL_ATTENTION,
    "growth": GROWTH,
    "performer": PERFORMER,
    "reformer": REFORMER,
    "reversible": REVERSIBLE,
    "lite_transformer": LITE_TRANSFORMER,
    "logsparse": LOGSPARSE,
    "conformer": CONFORMER,
}
