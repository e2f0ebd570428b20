"""Settings of softmax attention: the axes along which its words differ."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asr.model.attention.base import AttentionConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpanConfig:
    """How far heads may learn to look."""

    max_frames: int = Field(default=1024, gt=0)
    """Longest span on either side, in encoder frames."""
    ramp_frames: int = Field(default=32, gt=0)
    """Frames over which the mask falls from one to zero beyond the span (R in the paper)."""
    initial_fraction: float = Field(default=0.0, ge=0, le=1)
    """Span at the start, as a fraction of the longest."""
    loss_weight: float = Field(default=2e-6, ge=0)
    """Loss for each frame of span, averaged over heads and summed over sides and layers."""
    rate_factor: float = Field(default=1.0, gt=0)
    """Learning rate of the spans as a multiple of the others'."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SoftmaxConfig(AttentionConfig):
    """The axes along which these mechanisms differ; a word is a choice on each."""

    positions: Literal["none", "alibi", "relative"] = "none"
    """What scores know of positions; with none the encoder adds sinusoids to its input."""
    alibi_sides: Literal["symmetric", "split", "two_sided"] = "two_sided"
    """How ALiBi treats past and future; see AlibiBias."""
    pattern: Literal["window", "exponential"] = "window"
    """Keys: all within window_frames, or those at exponentially growing distances."""
    window_frames: int | tuple[int, ...] | None = None
    """Reach of the window on each side, in encoder frames times the dilation; None is no limit. A
    list has one for each layer."""
    dilation: int | tuple[int, ...] = 1
    """Distance in frames of neighbouring keys in the window; a list has one for each head."""
    global_frames: int = Field(default=0, ge=0)
    """Frames, spread evenly over the utterance, that attend to all and are attended to by all."""
    local_frames: int = Field(default=0, ge=0)
    """Exponential pattern: nearest frames that are attended to densely."""
    restart_frames: int | None = Field(default=None, gt=1)
    """Exponential pattern: distance after which the pattern is repeated; None: never."""
    query_key_kernel_frames: int = Field(default=1, gt=0)
    """Kernel of the causal convolution that makes queries and keys; 1 is a linear map."""
    span: SpanConfig | None = None
    """Learned spans as the window; None: none."""
    persistent_vectors: int | Literal["feed_forward"] = 0
    """Key-value pairs of each head that do not depend on the input; "feed_forward": as many as the
    feed-forward module that they replace has hidden units, four times the width."""
    replaces_feed_forward: bool = False
    """Whether the blocks have no feed-forward modules."""

    def __post_init__(self) -> None:
        reasons = []
        windows = _as_tuple(self.window_frames)
        dilations = _as_tuple(self.dilation)
        if any(frames < 0 for frames in windows) or any(frames < 1 for frames in dilations):
            reasons.append("windows of no negative and dilations of positive frames")
        if dilations != (1,) and not windows:
            reasons.append("a window where there is a dilation")
        if self.span is not None and (windows or self.pattern != "window"):
            reasons.append("learned spans alone: they are the window, and pointless in sparse keys")
        if self.global_frames and not windows:
            reasons.append("a window where there are global frames: without one all frames are")
        if self.pattern == "exponential" and windows:
            reasons.append("no window in the exponential pattern: set local_frames")
        if self.pattern == "window" and (self.local_frames or self.restart_frames):
            reasons.append("local_frames and restart_frames in the exponential pattern alone")
        if self.persistent_vectors != "feed_forward" and self.persistent_vectors < 0:
            reasons.append("no negative number of persistent vectors")
        if reasons:
            raise ValueError(f"{self.kind}: expected {'; and '.join(reasons)}; found {self}")


def _as_tuple(value: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def window_of_layer(config: SoftmaxConfig, *, layer: int, layers: int) -> int | None:
    """Reach of one layer's window, in frames; layers count from 1.

    Raises:
        ValueError: There are not as many windows as layers.
    """
    windows = _as_tuple(config.window_frames)
    if not windows:
        return None
    if len(windows) not in (1, layers):
        raise ValueError(
            f"expected one model.attention.window_frames or one for each of {layers} layers, found "
            f"{len(windows)}"
        )
    return windows[layer - 1] if len(windows) > 1 else windows[0]


def dilations_of_heads(config: SoftmaxConfig, *, heads: int) -> list[tuple[slice, int]]:
    """Runs of neighbouring heads with the same dilation, each with it.

    Raises:
        ValueError: There are not as many dilations as heads.
    """
    dilations = _as_tuple(config.dilation)
    if len(dilations) not in (1, heads):
        raise ValueError(
            f"expected one model.attention.dilation or one for each of {heads} heads, found "
            f"{len(dilations)}"
        )
    each = dilations if len(dilations) > 1 else dilations * heads
    starts = [head for head in range(heads) if head == 0 or each[head] != each[head - 1]]
    ends = [*starts[1:], heads]
    return [(slice(start, end), each[start]) for start, end in zip(starts, ends, strict=True)]
