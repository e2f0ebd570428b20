"""Reversible stacks against ordinary differentiation of the same equations."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from asr.ctc import build_model
from asr.model.attention import OFFLINE
from asr.model.branches import Branch, BranchOutput, FeedForwardBranch, FrameContext
from asr.model.encoders import parse_encoder
from asr.model.stack import Block, Stack


class _Noisy(Branch):
    """A branch with dropout and an auxiliary loss."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, context: FrameContext, state: object) -> BranchOutput:
        hidden = nn.functional.dropout(torch.tanh(self.linear(x)), 0.3, self.training)
        return BranchOutput(output=hidden, losses={"energy": hidden.square().mean()})


def _stack(layers: int = 3, *, stochastic_depth: float = 0.0) -> Stack:
    torch.manual_seed(0)
    blocks = [Block([_Noisy(6, 0.5), _Noisy(6, 1.0), _Noisy(6, 1.0)]) for _ in range(layers)]
    return Stack(
        blocks, intermediate_layers=[2], reversible=True, stochastic_depth=stochastic_depth
    )


def _ordinary(stack: Stack, x: Tensor, context: FrameContext) -> tuple[Tensor, Tensor, Tensor]:
    """Merged output, output after the second block, and loss, with an ordinary graph."""
    weights = torch.ones(len(x), 3)
    if stack.stochastic_depth:
        skipped = torch.arange(1, 4) / 3 * stack.stochastic_depth
        weights = (torch.rand(len(x), 3) >= skipped) / (1 - skipped)
        # Skipped, kept, and kept by one item and not by the other.
        assert len(set(weights.flatten().tolist())) > 2
        assert not torch.equal(weights[0], weights[1])
    streams, loss, middle = [x, x], torch.zeros(()), x
    branches = [branch for block in stack.blocks for branch in block.branches]  # type: ignore[union-attr]
    for number, branch in enumerate(branches):
        result = branch(streams[(number + 1) % 2], context, None)
        weight = branch.scale * weights[:, number // 3].view(-1, 1, 1)
        streams[number % 2] = streams[number % 2] + weight * result.output
        loss = loss + result.losses["energy"]
        if number + 1 == 6:
            middle = (streams[0] + streams[1]) / 2
    return (streams[0] + streams[1]) / 2, middle, loss


@pytest.mark.parametrize("stochastic_depth", [0.0, 0.6])
def test_gradients_equal_ordinary_ones_with_dropout_and_losses(stochastic_depth: float) -> None:
    stack = _stack(stochastic_depth=stochastic_depth).train()
    x = torch.randn(2, 5, 6, requires_grad=True)
    context = FrameContext(valid_mask=torch.ones(2, 5, dtype=torch.bool), mode=OFFLINE)
    wanted = [x, *stack.parameters()]
    found = []
    for reversible in (True, False):
        torch.manual_seed(7)
        if reversible:
            result = stack(x, context, None)
            outputs = (result.output, result.intermediates[0], result.losses["energy"])
        else:
            outputs = _ordinary(stack, x, context)
        total = outputs[0].square().sum() + outputs[1].sin().sum() + 3 * outputs[2]
        found.append([*outputs, *torch.autograd.grad(total, wanted)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_random_numbers_go_on_as_if_nothing_had_been_computed_anew() -> None:
    stack = _stack().train()
    context = FrameContext(valid_mask=torch.ones(1, 4, dtype=torch.bool), mode=OFFLINE)
    output = stack(torch.randn(1, 4, 6), context, None).output
    before = torch.get_rng_state()
    output.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_equals_training_without_dropout() -> None:
    stack = _stack().eval()
    x = torch.randn(2, 5, 6)
    context = FrameContext(valid_mask=torch.ones(2, 5, dtype=torch.bool), mode=OFFLINE)
    with torch.no_grad():
        plain = stack(x, context, None)
    graph = stack(x, context, None)
    torch.testing.assert_close(plain.output, graph.output.detach())
    torch.testing.assert_close(plain.intermediates[0], graph.intermediates[0].detach())
    torch.testing.assert_close(plain.losses["energy"], graph.losses["energy"].detach())


def _saved_bytes(layers: int, *, reversible: bool) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters apart."""
    width = 16
    blocks = [
        Block([FeedForwardBranch(width=width, hidden_width=64, dropout=0.0) for _ in range(2)])
        for _ in range(layers)
    ]
    stack = Stack(blocks, intermediate_layers=[], reversible=reversible)
    own = {parameter.data_ptr() for parameter in stack.parameters()}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        if tensor.data_ptr() not in own:
            total += tensor.nbytes
        return tensor

    x = torch.randn(2, 50, width, requires_grad=True)
    context = FrameContext(valid_mask=torch.ones(2, 50, dtype=torch.bool), mode=OFFLINE)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stack(x, context, None)
    return total


def test_a_pass_is_freed_without_the_garbage_collector() -> None:
    stack = _stack().train()
    context = FrameContext(valid_mask=torch.ones(2, 5, dtype=torch.bool), mode=OFFLINE)
    gc.disable()
    try:
        result = stack(torch.randn(2, 5, 6, requires_grad=True), context, None)
        kept = weakref.ref(result.intermediates[0])
        (result.output.sum() + result.intermediates[0].sum()).backward()
        del result
        assert kept() is None
    finally:
        gc.enable()


def test_saved_activations_do_not_grow_with_depth() -> None:
    assert _saved_bytes(8, reversible=True) == _saved_bytes(2, reversible=True)
    assert _saved_bytes(8, reversible=False) > 3 * _saved_bytes(2, reversible=False)


def _section(**settings: object) -> dict[str, object]:
    return {
        "encoder": "conformer",
        "width": 16,
        "layers": 2,
        "heads": 2,
        "kernel_frames": 3,
        "norm": "layer",
        "dropout": 0.1,
        "subsampling": {"factor": 4, "channels": 4},
        "reversible": True,
        "attention": {"kind": "adaptive_span"},
        **settings,
    }


@pytest.mark.parametrize("autocast", [False, True])
def test_reversible_conformer_trains_its_spans(autocast: bool) -> None:
    model = build_model(parse_encoder(_section()), vocab_size=4, feature_size=20).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(torch.randn(2, 60, 20), torch.tensor([60, 40]))
    (output.log_probs.square().mean() + output.losses["span"]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_reversible_conformer_with_batch_norm_is_refused() -> None:
    with pytest.raises(ValueError, match='expected norm = "layer" in reversible blocks'):
        parse_encoder(_section(norm="batch"))


def test_reversible_blocks_with_an_output_norm_are_refused() -> None:
    block = Block([_Noisy(6, 1.0)], output_norm=nn.LayerNorm(6))
    with pytest.raises(ValueError, match="without an output norm"):
        Stack([block], intermediate_layers=[], reversible=True)
