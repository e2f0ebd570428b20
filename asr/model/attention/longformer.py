"""Attention in a window, with dilation and global frames."""

from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LongformerConfig(SoftmaxConfig):
    """Every frame attends to a window around it; global frames attend to all.

    Source: Beltagy et al. 2020.
    """

    kind: Literal["longformer"] = "longformer"
    """The word of this mechanism."""
    positions: Literal["none", "alibi", "relative"] = "relative"
    """What scores know of positions."""
    window_frames: int | tuple[int, ...] | None = 256
    """Reach of the window on each side, in encoder frames times the dilation; a list has one for
    each layer."""
