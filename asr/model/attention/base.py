"""The contract that every attention mechanism keeps, and the split into heads."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Literal, Protocol, Self

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.schema import STRICT


@plain_dataclass(frozen=True, kw_only=True)
class Mode:
    """Which frames a frame may attend to.

    Args:
        kind: Offline: all; causal: none after itself; chunked: none after the end of its own chunk.
        chunk_frames: Chunk length in encoder frames; chunked mode only.
        left_frames: How many frames before itself (causal) or before its chunk (chunked); None is
            all.
    """

    kind: Literal["offline", "causal", "chunked"] = "offline"
    chunk_frames: int | None = None
    left_frames: int | None = None

    def __post_init__(self) -> None:
        if (self.chunk_frames is not None) != (self.kind == "chunked"):
            raise ValueError(
                f"expected a chunk in chunked mode and no other, found mode {self.kind!r} and "
                f"chunk_frames = {self.chunk_frames}"
            )
        if (self.chunk_frames or 1) < 1 or (self.left_frames or 0) < 0:
            raise ValueError(
                "expected a chunk of at least one frame and no negative left context, found "
                f"{self.chunk_frames} and {self.left_frames}"
            )

    def divided(self, by: int) -> "Mode":
        """The same mode where every `by`-th frame is left."""
        if by == 1:
            return self
        chunk, left = (
            None if n is None else n // by for n in (self.chunk_frames, self.left_frames)
        )
        return Mode(kind=self.kind, chunk_frames=chunk, left_frames=left)


OFFLINE = Mode()


def causal(left: int | None = None) -> Mode:
    """Attention to the present and the past `left` frames (None: all)."""
    return Mode(kind="causal", left_frames=left)


def chunked(chunk: int, left: int | None = None) -> Mode:
    """Attention to one's own chunk and the `left` frames before it (None: all)."""
    return Mode(kind="chunked", chunk_frames=chunk, left_frames=left)


@plain_dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an attention instance can do.

    Args:
        modes: The kinds of Mode it serves.
        forgets: Whether left context can be limited; sums over the past cannot.
        period: What chunks and left context must be multiples of, in frames.
        max_length: Longest input in encoder frames; None for any.
        exact: Whether it equals the naive reference under its own mask and bias.
        stochastic: Whether evaluation depends on random numbers.
        replaces_feed_forward: Whether the block must leave out its feed-forward modules.
        positions: Knowledge of positions it has: none (the encoder adds them to its input),
            relative, or a bias.
        time: Growth of time with T frames, such as "T^2"; a word for people, as `asr attention`
            shows it. What a program needs to know is `Attention.score_bytes`.
        memory: Growth of memory with T frames, likewise.
    """

    modes: frozenset[str]
    forgets: bool = True
    period: int = 1
    max_length: int | None = None
    exact: bool
    stochastic: bool = False
    replaces_feed_forward: bool = False
    positions: Literal["none", "relative", "bias"]
    time: str
    memory: str


@plain_dataclass(frozen=True, kw_only=True)
class AttentionOutput:
    """What attention gives.

    Args:
        output: (batch, time, feature), zero where not valid.
        state: What the next call needs; None offline.
        losses: Auxiliary losses by name, each a scalar.
    """

    output: Tensor
    state: "AttentionState | None" = None
    losses: dict[str, Tensor] = field(default_factory=dict)


torch.export.register_dataclass(
    AttentionOutput, serialized_type_name="asr.model.attention.AttentionOutput"
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AttentionConfig:
    """Section `[model.attention]`: the mechanism's word, then its own settings."""

    kind: str
    """The word of the mechanism, a key of ATTENTION."""


@plain_dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that are trained differently from all others.

    Args:
        parameters: The parameters.
        rate_factor: Their learning rate as a multiple of the others'.
        decays: Whether weight decay acts on them.
    """

    parameters: tuple[nn.Parameter, ...]
    rate_factor: float = 1.0
    decays: bool = False


class AttentionState(Protocol):
    """What is carried from chunk to chunk: a NamedTuple of batch-first tensors, detached."""

    def select(self, index: Tensor) -> Self:
        """The state of some items, in that order: index (item,) int64."""
        ...


class Attention(nn.Module, ABC):
    """Self-attention over (batch, time, feature), head split and projections included."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this instance can do."""

    @abstractmethod
    def score_bytes(self, frames: int) -> int:
        """Bytes of scores of all pairs of frames that one pass without gradients holds at once.

        Args:
            frames: Length of the one utterance, in encoder frames.

        Returns:
            0 where what is held grows no faster than the frames.
        """

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: AttentionState | None = None,
    ) -> AttentionOutput:
        """Attend.

        Args:
            x: (batch, time, feature).
            valid_mask: (batch, time) bool, True where the frame is real.
            mode: Which frames a frame may attend to. Chunked calls hold whole chunks; the last
                one of a stream may be short.
            state: What the previous call returned; None at the start and offline.

        Returns:
            Output of the shape of `x`, zero where not valid.

        Raises:
            ValueError: The mechanism does not serve the mode.
        """

    def reference(self, x: Tensor, valid_mask: Tensor, *, mode: Mode = OFFLINE) -> Tensor:
        """The output of `forward` by the naive equation; mechanisms that are `exact` have it."""
        raise NotImplementedError

    def share(self, first: Self) -> None:
        """Take over from the first block's attention what all blocks share."""

    def after_step(self) -> None:
        """Called after each optimizer step, for clamps and redraws."""

    def after_loading(self) -> None:
        """Called after weights were replaced in place, for what was derived from the former ones.

        `load_state_dict` needs no such call.
        """

    def parameter_groups(self) -> list[ParameterGroup]:
        """Parameters that want a learning rate or weight decay of their own."""
        return []

    def check_mode(self, mode: Mode) -> None:
        """Raise if this mechanism cannot serve the mode.

        Raises:
            ValueError: The mode is not among the capabilities.
        """
        can, name = self.capabilities, type(self).__name__
        if mode.kind not in can.modes:
            raise ValueError(
                f"{name}: expected a mode among {sorted(can.modes)}, found "
                f"{mode.kind!r}; choose an attention that supports it"
            )
        if mode.left_frames is not None and not can.forgets:
            raise ValueError(
                f"{name}: expected left context without a limit, found {mode.left_frames} frames; "
                "its running sums cannot forget single frames"
            )
        if (mode.chunk_frames or 0) % can.period or (mode.left_frames or 0) % can.period:
            raise ValueError(
                f"{name}: expected a chunk and left context in multiples of the dilation "
                f"{can.period}, found {mode.chunk_frames} and {mode.left_frames} frames"
            )


def split_heads(x: Tensor, *, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split a joint projection into parts of (batch, head, time, head_dim).

    Args:
        x: (batch, time, parts * head * head_dim).
        parts: How many projections lie side by side.
        heads: Number of heads.

    Returns:
        `parts` tensors.
    """
    batch, time, width = x.shape
    split = x.view(batch, time, parts, heads, width // (parts * heads))
    # (batch, time, part, head, head_dim)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def join_heads(x: Tensor) -> Tensor:
    """(batch, head, time, head_dim) to (batch, time, feature)."""
    return x.transpose(1, 2).flatten(2)
