"""Attention with linear biases."""

from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AlibiConfig(SoftmaxConfig):
    """Every frame attends to every frame, with a penalty that grows with the distance.

    Source: Press et al. 2022.
    """

    kind: Literal["alibi"] = "alibi"
    """The word of this mechanism."""
    positions: Literal["none", "alibi", "relative"] = "alibi"
    """What scores know of positions."""
