"""A classifier of frames on the stack that encoders use, and its training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from asr.claims.tasks import CLASSES, IGNORED, Frames
from asr.model.attention import OFFLINE, Attention, Mode, ParameterGroup, build_attentions
from asr.model.branches import FrameContext
from asr.model.encoders.base import parse_attention
from asr.model.sinusoids import sinusoids
from asr.model.stack import Block, BranchStates, Stack, StackOutput, transformer_blocks

WIDTH, HEADS = 48, 4
STEPS = 700
_BATCH, _RATE = 16, 2e-3

Task = Callable[[int, int, Generator], Frames]


class FrameModel(nn.Module):
    """A linear map, a stack without dropout, a norm, and a linear map to classes.

    Args:
        blocks: The blocks.
        features: Features of each input frame.
        width: Features inside.
        adds_positions: Whether sinusoids are added to the input.
    """

    def __init__(
        self, blocks: Sequence[Block], *, features: int, width: int, adds_positions: bool
    ) -> None:
        super().__init__()
        self.input = nn.Linear(features, width)
        self.stack = Stack(blocks, intermediate_layers=[], reversible=False)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, CLASSES)
        self.adds_positions = adds_positions

    def forward(self, inputs: Tensor, *, mode: Mode = OFFLINE) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (batch, time, class) of inputs (batch, time, feature), and auxiliary losses."""
        stacked = self.run(inputs, mode=mode, states=None)
        return self.output(self.norm(stacked.output)), stacked.losses

    def run(self, inputs: Tensor, *, mode: Mode, states: BranchStates | None) -> StackOutput:
        """The stack's output."""
        x = self.input(inputs)
        if self.adds_positions:
            x = x + sinusoids(torch.arange(x.shape[1]), x.shape[2])
        valid = torch.ones(x.shape[:2], dtype=torch.bool)
        result: StackOutput = self.stack(x, FrameContext(valid_mask=valid, mode=mode), states)
        return result

    def attentions(self) -> list[Attention]:
        """The attention of each block."""
        return [module for module in self.modules() if isinstance(module, Attention)]


def frame_blocks(
    attention: Mapping[str, Any], *, layers: int = 2, width: int = WIDTH, feed_forward: int = 4
) -> list[Block]:
    """Transformer blocks without dropout; `feed_forward` times the width is the hidden width."""
    attentions = build_attentions(
        parse_attention(dict(attention)), width=width, heads=HEADS, dropout=0.0, layers=layers
    )
    return transformer_blocks(
        attentions, width=width, feed_forward_expansion=feed_forward, dropout=0.0
    )


def transformer(
    attention: Mapping[str, Any],
    *,
    features: int = CLASSES,
    adds_positions: bool = False,
    **sizes: int,
) -> FrameModel:
    """A frame model of Transformer blocks; `sizes` as for frame_blocks."""
    blocks = frame_blocks(attention, **sizes)
    width = sizes.get("width", WIDTH)
    return FrameModel(blocks, features=features, width=width, adds_positions=adds_positions)


def train(
    model: FrameModel,
    task: Task,
    *,
    time: int,
    seed: int,
    mode: Mode = OFFLINE,
    steps: int = STEPS,
) -> None:
    """Train on fresh batches with Adam; attention's own parameter groups keep their rates."""
    generator = torch.Generator().manual_seed(seed)
    own: list[ParameterGroup] = [g for each in model.attentions() for g in each.parameter_groups()]
    taken = {id(parameter) for group in own for parameter in group.parameters}
    groups: list[dict[str, Any]] = [
        {"params": [each for each in model.parameters() if id(each) not in taken], "lr": _RATE}
    ]
    groups += [{"params": list(g.parameters), "lr": _RATE * g.rate_factor} for g in own]
    optimizer = torch.optim.Adam(groups)
    model.train()
    for _ in range(steps):
        frames = task(_BATCH, time, generator)
        logits, losses = model(frames.inputs, mode=mode)
        loss = _cross_entropy(logits, frames.labels) + sum(losses.values())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for each in model.attentions():
            each.after_step()
    model.eval()


@torch.no_grad()
def loss_of(
    model: FrameModel, task: Task, *, time: int, mode: Mode = OFFLINE, frames: int = 1 << 15
) -> float:
    """Cross-entropy in nats on frames that training did not see."""
    generator = torch.Generator().manual_seed(1 << 30)
    batch = task(max(4, frames // time), time, generator)
    return float(_cross_entropy(model(batch.inputs, mode=mode)[0], batch.labels))


@torch.no_grad()
def accuracy_of(model: FrameModel, task: Task, *, time: int, mode: Mode = OFFLINE) -> float:
    """Share of labelled frames whose class is right."""
    batch = task(512, time, torch.Generator().manual_seed(1 << 30))
    chosen = model(batch.inputs, mode=mode)[0].argmax(dim=2)
    asked = batch.labels != IGNORED
    return float((chosen == batch.labels)[asked].float().mean())


def parameter_count(model: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="mean"
    )
