"""Transformer-XL's relative positions and segment memory."""

from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransformerXlConfig(SoftmaxConfig):
    """Scores depend on content and on signed distance; earlier segments are remembered.

    Source: Dai et al. 2019.
    """

    kind: Literal["transformer_xl"] = "transformer_xl"
    """The word of this mechanism."""
    positions: Literal["none", "alibi", "relative"] = "relative"
    """What scores know of positions."""
