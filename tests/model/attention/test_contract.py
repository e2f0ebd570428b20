"""What every mechanism must keep; a new word in ATTENTION is tested without a new test."""

import pytest
import torch
from torch import Tensor

from asr.model.attention import ATTENTION, Attention, Mode, build_attention, causal, chunked
from asr.model.encoders.base import parse_attention

_WIDTH, _HEADS, _TIME = 32, 4, 37


def _attention(word: str, dropout: float = 0.0) -> Attention:
    torch.manual_seed(0)
    attention = build_attention(
        parse_attention({"kind": word}), width=_WIDTH, heads=_HEADS, dropout=dropout
    )
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attention.eval()


def _input(batch: int = 2, time: int = _TIME) -> Tensor:
    return torch.randn(batch, time, _WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=sorted(ATTENTION))
def word(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_output_is_zero_where_not_valid(word: str) -> None:
    valid = torch.arange(_TIME) < torch.tensor([[_TIME], [20]])
    output = _attention(word)(_input(), valid).output
    assert output.shape == (2, _TIME, _WIDTH)
    assert not output[1, 20:].any()
    assert output[1, :20].abs().sum(dim=1).all()


def test_valid_frames_do_not_depend_on_padding_or_batch(word: str) -> None:
    attention, x = _attention(word), _input(batch=1, time=20)
    alone = attention(x, torch.ones(1, 20, dtype=torch.bool)).output
    padded = torch.cat([x, 1e3 * _input(batch=1, time=17)], dim=1)
    batch = torch.cat([padded, _input(batch=1)])
    valid = torch.arange(_TIME) < torch.tensor([[20], [_TIME]])
    torch.testing.assert_close(attention(batch, valid).output[:1, :20], alone, atol=1e-5, rtol=1e-5)


def test_padding_gets_no_gradient(word: str) -> None:
    x = _input().requires_grad_()
    valid = torch.arange(_TIME) < torch.tensor([[_TIME], [20]])
    _attention(word)(x, valid).output.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[1, 20:].any()
    assert x.grad[1, :20].abs().sum(dim=1).all()


def test_no_frame_at_all_is_finite(word: str) -> None:
    x = _input().requires_grad_()
    output = _attention(word)(x, torch.zeros(2, _TIME, dtype=torch.bool)).output
    output.sum().backward()
    assert not output.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_bfloat16_is_close_to_float32(word: str) -> None:
    attention, x = _attention(word), _input()
    valid = torch.ones(2, _TIME, dtype=torch.bool)
    exact = attention(x, valid).output
    with torch.autocast("cpu", torch.bfloat16):
        rough = attention(x, valid).output
    assert rough.isfinite().all()
    assert (rough.float() - exact).square().mean() < 1e-3 * exact.square().mean()


def test_dropout_acts_in_training_alone(word: str) -> None:
    attention, x = _attention(word, dropout=0.5), _input()
    valid = torch.ones(2, _TIME, dtype=torch.bool)
    assert torch.equal(attention(x, valid).output, attention(x, valid).output)
    attention.train()
    assert not torch.equal(attention(x, valid).output, attention(x, valid).output)


def test_weights_survive_saving(word: str) -> None:
    attention, other = _attention(word), _attention(word)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(attention.state_dict())
    valid = torch.ones(2, _TIME, dtype=torch.bool)
    assert torch.equal(attention(_input(), valid).output, other(_input(), valid).output)


@pytest.mark.parametrize("mode", [causal(), chunked(4)])
def test_mode_that_is_not_served_is_refused(word: str, mode: Mode) -> None:
    attention = _attention(word)
    assert "offline" in attention.capabilities.modes
    if mode.kind in attention.capabilities.modes:
        return
    with pytest.raises(ValueError, match="expected a mode among"):
        attention(_input(), torch.ones(2, _TIME, dtype=torch.bool), mode=mode)
