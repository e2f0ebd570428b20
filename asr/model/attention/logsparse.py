"""Attention to frames at exponentially growing distances."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asr.model.attention.softmax_config import SoftmaxConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LogSparseConfig(SoftmaxConfig):
    """Queries and keys are causal convolutions; keys lie at powers of two.

    Offline the pattern looks both ways, which is this project's extension.

    Source: Li et al. 2019 (LogSparse Transformer).
    """

    kind: Literal["logsparse"] = "logsparse"
    """The word of this mechanism."""
    pattern: Literal["window", "exponential"] = "exponential"
    """Keys at exponentially growing distances."""
    local_frames: int = Field(default=8, ge=0)
    """Nearest frames that are attended to densely."""
    query_key_kernel_frames: int = Field(default=6, gt=0)
    """Kernel of the causal convolution that makes queries and keys; 1 is a linear map."""
