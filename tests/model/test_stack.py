"""Stochastic depth in stacks of blocks that each add a mark of their own."""

import pytest
import torch
from torch import Tensor, nn

from asr.ctc import build_model
from asr.model.attention import OFFLINE
from asr.model.branches import Branch, BranchOutput, FrameContext
from asr.model.encoders import parse_encoder
from asr.model.stack import Block, Stack
from tests.model.encoders.pairs import Pair

_BLOCKS = 4
_BRANCHES = 2


class _Mark(Branch):
    """Adds 1 to one feature."""

    def __init__(self, place: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.mark = nn.Parameter(torch.zeros(_BLOCKS * _BRANCHES).index_fill(0, _at(place), 1.0))

    def forward(self, x: Tensor, frame_context: FrameContext, state: object) -> BranchOutput:
        return BranchOutput(output=self.mark.expand_as(x))


def _at(place: int) -> Tensor:
    return torch.tensor([place])


def _stack(probability: float, *, reversible: bool = False) -> Stack:
    blocks = [
        Block([_Mark(_BRANCHES * block, 0.5), _Mark(_BRANCHES * block + 1, 1.0)])
        for block in range(_BLOCKS)
    ]
    return Stack(
        blocks, intermediate_layers=(), reversible=reversible, stochastic_depth=probability
    )


def _marks(stack: Stack, items: int) -> Tensor:
    """(item, block, branch) of what was added, in units of the branch's scale."""
    valid = torch.ones(items, 1, dtype=torch.bool)
    x = torch.zeros(items, 1, _BLOCKS * _BRANCHES)
    output: Tensor = stack(x, FrameContext(valid_mask=valid, mode=OFFLINE), None).output
    return output.view(items, _BLOCKS, _BRANCHES) / torch.tensor([0.5, 1.0])


def test_blocks_are_skipped_whole_and_as_often_as_asked_for() -> None:
    torch.manual_seed(0)
    items, last = 20000, 0.4
    marks = _marks(_stack(last).train(), items).detach()
    assert torch.equal(marks[:, :, 0], marks[:, :, 1])
    for number, marked in enumerate(marks[:, :, 0].unbind(dim=1), start=1):
        skipped = number / _BLOCKS * last
        kept = marked != 0
        (weight,) = set(marked[kept].tolist())
        assert weight == pytest.approx(1 / (1 - skipped))
        # Five standard deviations of a share of 0.4 in 20000 draws, the largest of the four.
        assert 1 - kept.float().mean().item() == pytest.approx(skipped, abs=0.018)
    # Blocks are drawn apart: together 1 of 8.3 skips the last two.
    both = (marks[:, 2:, 0] == 0).all(dim=1).float().mean().item()
    assert both == pytest.approx(0.3 * 0.4, abs=0.012)


def test_a_skipped_block_gets_no_gradient_and_the_others_the_same_weight() -> None:
    torch.manual_seed(0)
    stack = _stack(0.6).train()
    marks = _marks(stack, 1)
    torch.autograd.backward(marks.sum())
    factors = marks.detach()[0, :, 0].tolist()
    assert 0.0 in factors
    assert any(factors)
    for block, factor in zip(stack.blocks, factors, strict=True):
        for parameter in block.parameters():
            assert parameter.grad is not None
            assert parameter.grad[parameter > 0].item() == pytest.approx(factor)


def test_reversible_stacks_draw_the_same_blocks() -> None:
    found = []
    for reversible in (False, True):
        torch.manual_seed(5)
        # Each branch adds to one of two streams, and the output is their mean.
        factor = 2 if reversible else 1
        found.append(factor * _marks(_stack(0.5, reversible=reversible).train(), 6).detach())
    assert 0 in found[0]
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.5, False)])
def test_nothing_is_drawn_without_it_or_in_evaluation(probability: float, training: bool) -> None:
    before = torch.get_rng_state()
    marks = _marks(_stack(probability).train(training), 3)
    assert torch.equal(marks, torch.ones_like(marks))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_wrong_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match=r"model\.stochastic_depth"):
        parse_encoder(Pair("conformer", "full").section(stochastic_depth=probability))


@pytest.mark.parametrize("encoder", ["conformer", "lite_transformer", "transformer"])
@pytest.mark.parametrize("autocast", [False, True])
def test_encoders_skip_blocks_in_training_alone(encoder: str, autocast: bool) -> None:
    models = []
    for probability in (0.0, 0.9):
        torch.manual_seed(0)
        section = Pair(encoder, "transformer_xl").section(stochastic_depth=probability)
        models.append(build_model(parse_encoder(section), vocab_size=9, feature_size=20))
    batch = (torch.randn(3, 60, 20), torch.tensor([60, 50, 40]))
    plain, deep = models
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert torch.equal(plain.eval()(*batch).log_probs, deep.eval()(*batch).log_probs)
        trained = deep.train()(*batch).log_probs
        assert not torch.allclose(plain.train()(*batch).log_probs, trained)
    torch.autograd.backward(trained.square().mean())
    # Also where all utterances skip a block, or DDP would wait for gradients that never come.
    assert all(each.grad is not None for each in deep.parameters())
