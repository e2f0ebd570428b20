"""A stack of blocks of residual branches: what encoders and language models are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asr.model.attention import Attention, AttentionState
from asr.model.branches import (
    AttentionBranch,
    Branch,
    FeedForwardBranch,
    FrameContext,
    add_losses,
    weighted,
)
from asr.model.reversible import ReversibleRun, run_reversible


@dataclass(frozen=True, kw_only=True)
class Conditioned:
    """What a head makes of a block's output.

    Args:
        output: (batch, time, feature), what the next block gets.
        log_probs: (batch, time, vocab) float32, what it was conditioned on.
    """

    output: Tensor
    log_probs: Tensor


BranchStates = tuple[AttentionState | None, ...]


class Block(nn.Module):
    """Branches whose outputs are added to the input one after another, then a norm."""

    def __init__(self, branches: Sequence[Branch], *, output_norm: nn.Module | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.output_norm = nn.Identity() if output_norm is None else output_norm

    def in_order(self) -> list[Branch]:
        """The branches."""
        return [branch for branch in self.branches if isinstance(branch, Branch)]


@dataclass(frozen=True, kw_only=True)
class StackOutput:
    """What a stack gives.

    Args:
        output: (batch, time, feature).
        states: Of each branch in order.
        losses: Auxiliary losses by name, summed over the branches.
        intermediates: Outputs of chosen blocks; none where they condition the next ones.
        intermediate_log_probs: In training, what they condition these on.
    """

    output: Tensor
    states: BranchStates
    losses: dict[str, Tensor]
    intermediates: tuple[Tensor, ...]
    intermediate_log_probs: tuple[Tensor, ...] = ()


class Stack(nn.Module):
    """Blocks one after another.

    Args:
        blocks: The blocks.
        intermediate_layers: Blocks, counted from 1, whose output is given too, or conditions the
            next block.
        reversible: Whether two streams alternate, so that training stores no activations of the
            blocks.
        stochastic_depth: Probability that training skips the last block, for each item apart; it
            falls linearly to 0 before the first block.

    Raises:
        ValueError: Reversible blocks have an output norm.

    Source: stochastic depth: Huang et al. 2016, section 3, with their linear decay; a block that is
        not skipped counts 1 / (1 - p) times, so that evaluation needs no factor (Pham et al. 2019).
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        intermediate_layers: Sequence[int],
        reversible: bool,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.intermediate_layers = tuple(intermediate_layers)
        self.reversible = reversible
        self.stochastic_depth = stochastic_depth
        self._branches = [len(block.branches) for block in blocks]
        if reversible and any(not isinstance(b.output_norm, nn.Identity) for b in blocks):
            raise ValueError(
                "expected reversible blocks without an output norm, found one; put it after "
                "the stack"
            )

    def forward(
        self,
        x: Tensor,
        frame_context: FrameContext,
        states: BranchStates | None,
        *,
        condition: Callable[[Tensor], Conditioned] | None = None,
    ) -> StackOutput:
        """Run all blocks.

        Args:
            x: (batch, time, feature).
            frame_context: Which frames are real, and which a frame may see.
            states: What the previous call gave; None at the start and offline.
            condition: What the next block gets in place of the output of a chosen one; None is
                the output. Reversible blocks cannot undo it.

        Returns:
            The last block's output and everything else that the branches gave.
        """
        if states is None:
            states = (None,) * sum(self._branches)
        weights = self._weights(x)
        if self.reversible:
            assert condition is None
            return self._reversible(x, frame_context, states, weights)
        after: list[AttentionState | None] = []
        losses: dict[str, Tensor] = {}
        intermediates: list[Tensor] = []
        log_probs: list[Tensor] = []
        for number, block in enumerate(self._in_order(), start=1):
            for branch in block.in_order():
                result = branch(x, frame_context, states[len(after)])
                result = weighted(result, weights[len(after)])
                x = torch.add(x, result.output, alpha=branch.scale)
                after.append(result.state)
                add_losses(losses, result.losses)
            x = block.output_norm(x)
            if number not in self.intermediate_layers:
                continue
            if condition is None:
                intermediates.append(x)
                continue
            conditioned = condition(x)
            x = conditioned.output
            if self.training:
                log_probs.append(conditioned.log_probs)
        return StackOutput(
            output=x,
            states=tuple(after),
            losses=losses,
            intermediates=tuple(intermediates),
            intermediate_log_probs=tuple(log_probs),
        )

    def _in_order(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _weights(self, x: Tensor) -> list[Tensor | None]:
        """How much each branch counts: (batch, 1, 1), 0 in a skipped block; None for once."""
        if not self.training or self.stochastic_depth == 0:
            return [None] * sum(self._branches)
        blocks = len(self._branches)
        skipped = torch.arange(1, blocks + 1, device=x.device) * (self.stochastic_depth / blocks)
        draws = torch.rand(len(x), blocks, device=x.device)
        of_blocks = ((draws >= skipped) / (1 - skipped)).view(-1, 1, 1, blocks).unbind(dim=3)
        # (batch, 1, 1) of each block
        return [
            weight
            for weight, branches in zip(of_blocks, self._branches, strict=True)
            for _ in range(branches)
        ]

    def _reversible(
        self,
        x: Tensor,
        frame_context: FrameContext,
        states: BranchStates,
        weights: Sequence[Tensor | None],
    ) -> StackOutput:
        ends = [sum(self._branches[:number]) for number in self.intermediate_layers]
        result = run_reversible(
            x,
            ReversibleRun(
                branches=[branch for block in self._in_order() for branch in block.in_order()],
                taps=ends,
                frame_context=frame_context,
                states=states,
                weights=weights,
            ),
        )
        return StackOutput(
            output=result.output,
            states=result.states,
            losses=result.losses,
            intermediates=result.taps,
        )


def transformer_blocks(
    attentions: Sequence[Attention], *, width: int, feed_forward_expansion: int, dropout: float
) -> list[Block]:
    """Attention and, unless it replaces it, a feed-forward module.

    Args:
        attentions: The attention of each block.
        width: Features of each frame.
        feed_forward_expansion: Hidden width of the feed-forward module as a multiple of the width;
            0 is no such module.
        dropout: Dropout probability.

    Returns:
        One block an attention.

    Source: Vaswani et al. 2017, section 3.1, with the norms in front of the branches.
    """
    blocks = []
    for attention in attentions:
        branches: list[Branch] = [AttentionBranch(attention, width=width, dropout=dropout)]
        hidden_width = feed_forward_expansion * width
        if hidden_width and not attention.capabilities.replaces_feed_forward:
            branches.append(
                FeedForwardBranch(width=width, hidden_width=hidden_width, dropout=dropout)
            )
        blocks.append(Block(branches))
    return blocks
