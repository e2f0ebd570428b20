"""Reversible residual streams: the backward pass computes activations anew instead of storing them.

Two streams begin with the same input, and each branch reads one and adds to the other:

    a <- a + F_1(b),  b <- b + F_2(a),  a <- a + F_3(b),  ...

so that every state follows from the next by subtraction. The output is the mean of the streams.

Source: Gomez et al. 2017 (The Reversible Residual Network), section 3; Kitaev et al. 2020
    (Reformer), section 3; here over any number of branches.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from asr.model.attention import AttentionState
from asr.model.branches import Branch, BranchOutput, FrameContext, add_losses, weighted

Streams = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class ReversibleRun:
    """One pass through branches.

    Args:
        branches: The branches in order.
        taps: Numbers of branches, counted from 1, after which the mean of the streams is wanted.
        frame_context: Which frames are real, and which a frame may see.
        states: What each branch gave at the previous call.
        weights: How much each branch counts, (batch, 1, 1); None for once.
    """

    branches: Sequence[Branch]
    taps: Sequence[int]
    frame_context: FrameContext
    states: Sequence[AttentionState | None]
    weights: Sequence[Tensor | None]

    def branch(self, number: int, streams: Streams) -> BranchOutput:
        """What a branch, counted from 0, adds to its stream."""
        source = streams[(number + 1) % 2]
        result: BranchOutput = self.branches[number](
            source, self.frame_context, self.states[number]
        )
        return weighted(result, self.weights[number])


@dataclass(frozen=True, kw_only=True)
class ReversibleOutput:
    """What a pass gives: the merged streams and everything that the branches gave."""

    output: Tensor
    states: tuple[AttentionState | None, ...]
    losses: dict[str, Tensor]
    taps: tuple[Tensor, ...]


def run_reversible(x: Tensor, run: ReversibleRun) -> ReversibleOutput:
    """Run the branches on two streams that begin with `x` (batch, time, feature)."""
    # In float32: what is added in bfloat16 cannot be subtracted again.
    x = x.float()
    if not torch.is_grad_enabled() or torch.compiler.is_exporting():
        streams, notes = _forward(run, (x, x))
        return ReversibleOutput(
            output=_merged(streams),
            states=tuple(notes.states),
            losses=notes.losses,
            taps=tuple(notes.taps),
        )
    notes = _Notes()
    parameters = [parameter for branch in run.branches for parameter in branch.parameters()]
    first, second, *more = _Reversible.apply(run, notes, x, x, *parameters)  # type: ignore[no-untyped-call]
    names = list(notes.losses)
    return ReversibleOutput(
        output=_merged((first, second)),
        states=tuple(notes.states),
        losses=dict(zip(names, more[: len(names)], strict=True)),
        taps=tuple(more[len(names) :]),
    )


@dataclass(kw_only=True)
class _Notes:
    """What a forward pass leaves besides the streams."""

    states: list[AttentionState | None] = field(default_factory=list)
    losses: dict[str, Tensor] = field(default_factory=dict)
    taps: list[Tensor] = field(default_factory=list)
    generators: list["_Generators"] = field(default_factory=list)


def _merged(streams: Streams) -> Tensor:
    return (streams[0] + streams[1]) / 2


def _forward(
    run: ReversibleRun, streams: Streams, notes: _Notes | None = None
) -> tuple[Streams, _Notes]:
    """Run all branches."""
    notes = notes or _Notes()
    for number, branch in enumerate(run.branches):
        if not torch.compiler.is_exporting():
            notes.generators.append(_Generators.now(streams[0].device))
        result = run.branch(number, streams)
        added = torch.add(streams[number % 2], result.output, alpha=branch.scale)
        streams = (added, streams[1]) if number % 2 == 0 else (streams[0], added)
        notes.states.append(result.state)
        add_losses(notes.losses, result.losses)
        if number + 1 in run.taps:
            notes.taps.append(_merged(streams))
    return streams, notes


@dataclass(frozen=True, kw_only=True)
class _Generators:
    """The random generators and the autocast setting before a branch."""

    device: torch.device
    cpu: Tensor
    accelerator: Tensor | None
    autocast: tuple[bool, torch.dtype]

    @classmethod
    def now(cls, device: torch.device) -> "_Generators":
        """What is in force."""
        return cls(
            device=device,
            cpu=torch.get_rng_state(),
            accelerator=torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            autocast=(
                torch.is_autocast_enabled(device.type),
                torch.get_autocast_dtype(device.type),
            ),
        )

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Put them in force, and afterwards those that were."""
        enabled, dtype = self.autocast
        devices = [self.device] if self.accelerator is not None else []
        with torch.random.fork_rng(devices), torch.autocast(self.device.type, dtype, enabled):
            torch.set_rng_state(self.cpu)
            if self.accelerator is not None:
                torch.cuda.set_rng_state(self.accelerator, self.device)
            yield


class _Reversible(torch.autograd.Function):
    """Keeps the last state of the streams alone."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, run: ReversibleRun, notes: _Notes, a: Tensor, b: Tensor, *_: Tensor
    ) -> tuple[Tensor, ...]:
        """Run without a graph; give both streams, then losses, then taps."""
        streams, _notes = _forward(run, (a, b), notes)
        ctx.save_for_backward(*streams)
        # Not the notes, whose losses and taps are this function's own: nothing would free them.
        ctx.run, ctx.losses = run, list(notes.losses)  # type: ignore[attr-defined]
        ctx.generators = notes.generators  # type: ignore[attr-defined]
        return (*streams, *notes.losses.values(), *notes.taps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Undo branch after branch, computing each anew with a graph of its own."""
        run, names = ctx.run, ctx.losses
        a, b = ctx.saved_tensors
        streams, incoming = [a, b], list(gradients[:2])
        of_losses = dict(zip(names, gradients[2 : 2 + len(names)], strict=True))
        of_taps = dict(zip(run.taps, gradients[2 + len(names) :], strict=True))
        of_parameters: list[list[Tensor | None]] = []
        for number in reversed(range(len(run.branches))):
            if number + 1 in of_taps:
                incoming = [each + of_taps[number + 1] / 2 for each in incoming]
            target, source = number % 2, (number + 1) % 2
            read = streams[source].detach().requires_grad_()
            with torch.enable_grad(), ctx.generators[number].replayed():
                result = run.branch(number, (read, read))
            scale = run.branches[number].scale
            streams[target] = streams[target] - scale * result.output.detach()
            to_source, *to_parameters = _gradients(
                result, read, run.branches[number], scale * incoming[target], of_losses
            )
            if to_source is not None:
                incoming[source] = incoming[source] + to_source
            of_parameters.append(to_parameters)
        flat = [gradient for group in reversed(of_parameters) for gradient in group]
        return (None, None, *incoming, *flat)


def _gradients(
    result: BranchOutput,
    source: Tensor,
    branch: Branch,
    of_output: Tensor,
    of_losses: Mapping[str, Tensor],
) -> tuple[Tensor | None, ...]:
    """Gradients of the source and of the branch's parameters."""
    outputs = [result.output] + [loss for loss in result.losses.values() if loss.requires_grad]
    given = [of_output.to(result.output.dtype)]
    given += [of_losses[name] for name, loss in result.losses.items() if loss.requires_grad]
    parameters = list(branch.parameters())
    wanted = [source] + [parameter for parameter in parameters if parameter.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, given, allow_unused=True))
    first = next(found)
    return (first, *(next(found) if each.requires_grad else None for each in parameters))
