"""Residual branches: what a block adds to its input, one after another."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.model.attention import Attention, AttentionState, Mode
from asr.model.convolution import ConvolutionModule, ConvolutionState
from asr.model.dropout import Dropout
from asr.model.long_short import ShortRange


class FeedForward(nn.Module):
    """Layer norm, expansion, swish, dropout, projection, dropout; pointwise in time.

    Source: Gulati et al. 2020, section 2.1.3.
    """

    def __init__(self, *, width: int, hidden_width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden_width)
        self.project = nn.Linear(hidden_width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, feature) to the same shape."""
        # In place where no gradient needs the input: a fifth less time for this module.
        in_place = not torch.is_grad_enabled()
        hidden = nn.functional.silu(self.expand(self.norm(x)), inplace=in_place)
        hidden = self.dropout(hidden)
        projected: Tensor = self.dropout(self.project(hidden))
        return projected


@dataclass(frozen=True, kw_only=True)
class FrameContext:
    """Which frames of an input are real, and which of them a frame may see.

    Args:
        valid_mask: (batch, time) bool, True where the frame is real.
        mode: Which frames a frame may see.
    """

    valid_mask: Tensor
    mode: Mode


@dataclass(frozen=True, kw_only=True)
class BranchOutput:
    """What a branch gives.

    Args:
        output: (batch, time, feature), to be scaled and added to the input.
        state: What the next chunk needs; None offline and for branches without memory.
        losses: Auxiliary losses by name, each a scalar.
    """

    output: Tensor
    state: AttentionState | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


# Hooks on the tensors found here gather shared weights again for the backward pass.
torch.export.register_dataclass(
    BranchOutput, serialized_type_name="asr.model.branches.BranchOutput"
)


class Branch(nn.Module, ABC):
    """A map of (batch, time, feature) to the same shape, its norm and dropout included."""

    scale = 1.0

    @abstractmethod
    def forward(
        self, x: Tensor, frame_context: FrameContext, state: AttentionState | None
    ) -> BranchOutput:
        """Map; the state is what the previous call returned, None at the start and offline."""


class FeedForwardBranch(Branch):
    """A feed-forward module; a Conformer adds half of it."""

    def __init__(
        self, *, width: int, hidden_width: int, dropout: float, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.feed_forward = FeedForward(width=width, hidden_width=hidden_width, dropout=dropout)

    def forward(
        self, x: Tensor, frame_context: FrameContext, state: AttentionState | None
    ) -> BranchOutput:
        """Map; pointwise in time."""
        return BranchOutput(output=self.feed_forward(x))


class AttentionBranch(Branch):
    """Layer norm, attention, dropout."""

    def __init__(self, attention: Attention, *, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = attention
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, frame_context: FrameContext, state: AttentionState | None
    ) -> BranchOutput:
        """Attend."""
        attended = self.attention(
            self.norm(x), frame_context.valid_mask, mode=frame_context.mode, state=state
        )
        return BranchOutput(
            output=self.dropout(attended.output), state=attended.state, losses=attended.losses
        )


class ConvolutionBranch(Branch):
    """A Conformer's convolution module."""

    def __init__(self, convolution: ConvolutionModule) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(
        self, x: Tensor, frame_context: FrameContext, state: AttentionState | None
    ) -> BranchOutput:
        """Convolve."""
        assert state is None or isinstance(state, ConvolutionState)
        convolved = self.convolution(
            x, frame_context.valid_mask, mode=frame_context.mode, state=state
        )
        return BranchOutput(output=convolved.output, state=convolved.state)


class LongShortState(NamedTuple):
    """The states of both halves."""

    long: AttentionState
    short: ConvolutionState

    def select(self, index: Tensor) -> "LongShortState":
        """The state of some items."""
        return LongShortState(self.long.select(index), self.short.select(index))


class LongShortBranch(Branch):
    """Long-short range attention: one half of the features attends, the other half convolves.

    Source: Wu et al. 2020 (Lite Transformer), section 4; with the norm in front.
    """

    def __init__(
        self, attention: Attention, short_range: ShortRange, *, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = attention
        self.short_range = short_range
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, frame_context: FrameContext, state: AttentionState | None
    ) -> BranchOutput:
        """Attend and convolve."""
        assert state is None or isinstance(state, LongShortState)
        valid, mode = frame_context.valid_mask, frame_context.mode
        far, near = self.norm(x).chunk(2, dim=2)
        attended = self.attention(
            far, valid, mode=mode, state=None if state is None else state.long
        )
        convolved = self.short_range(
            near, valid, mode=mode, state=None if state is None else state.short
        )
        if attended.state is None or convolved.state is None:
            after = None
        else:
            after = LongShortState(attended.state, convolved.state)
        return BranchOutput(
            output=self.dropout(torch.cat([attended.output, convolved.output], dim=2)),
            state=after,
            losses=attended.losses,
        )


def weighted(result: BranchOutput, weight: Tensor | None) -> BranchOutput:
    """The same with an output that counts `weight` (batch, 1, 1) times; None is once."""
    if weight is None:
        return result
    return replace(result, output=result.output * weight.to(result.output.dtype))


def add_losses(total: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    """Add auxiliary losses into `total` by name."""
    for name, loss in more.items():
        total[name] = total[name] + loss if name in total else loss
