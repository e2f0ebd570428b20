"""Full softmax attention; the encoder adds the positions."""

from typing import Literal

from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullConfig(SoftmaxConfig):
    """Every frame attends to every frame.

    Source: Vaswani et al. 2017, section 3.2.
    """

    kind: Literal["full"] = "full"
    """The word of this mechanism."""
