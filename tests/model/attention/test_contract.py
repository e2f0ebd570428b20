"""What every mechanism must keep; a new word in ATTENTION is tested without a new test."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor

from asr.claims.cost import peak_bytes
from asr.model.attention import (
    ATTENTION,
    OFFLINE,
    Attention,
    AttentionState,
    Mode,
    build_attentions,
    causal,
    chunked,
)
from asr.model.dropout import Dropout
from asr.model.encoders.base import parse_attention
from tests.model.attention.served import mechanism, served

_WIDTH, _HEADS, _TIME = 32, 4, 37


def _attention(word: str, dropout: float = 0.0) -> Attention:
    torch.manual_seed(0)
    (attention,) = build_attentions(
        parse_attention({"kind": word}), width=_WIDTH, heads=_HEADS, dropout=dropout, layers=1
    )
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    attention.after_step()
    return attention.eval()


def _input(batch: int = 2, time: int = _TIME) -> Tensor:
    return torch.randn(batch, time, _WIDTH, generator=torch.Generator().manual_seed(1))


def _valid(*lengths: int, time: int = _TIME) -> Tensor:
    return torch.arange(time) < torch.tensor(lengths).unsqueeze(1)


@pytest.fixture(params=sorted(ATTENTION))
def word(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_output_is_zero_where_not_valid(word: str) -> None:
    output = _attention(word)(_input(), _valid(_TIME, 20)).output
    assert output.shape == (2, _TIME, _WIDTH)
    assert not output[1, 20:].any()
    assert output[1, :20].abs().sum(dim=1).all()


def test_valid_frames_do_not_depend_on_padding_or_batch(word: str) -> None:
    attention, x = _attention(word), _input(batch=1, time=20)
    alone = attention(x, _valid(20, time=20)).output
    padded = torch.cat([x, 1e3 * _input(batch=1, time=17)], dim=1)
    batch = torch.cat([padded, _input(batch=1)])
    output = attention(batch, _valid(20, _TIME)).output
    torch.testing.assert_close(output[:1, :20], alone, atol=1e-5, rtol=1e-5)


def test_padding_gets_no_gradient(word: str) -> None:
    x = _input().requires_grad_()
    _attention(word)(x, _valid(_TIME, 20)).output.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[1, 20:].any()
    assert x.grad[1, :20].abs().sum(dim=1).all()


def test_trains_after_decoding(word: str) -> None:
    attention, x, valid = _attention(word), _input(time=23), _valid(23, 20, time=23)
    with torch.inference_mode():
        attention(x, valid)
    attention.train()(x.requires_grad_(), valid).output.sum().backward()
    assert x.grad is not None


def test_drops_alike_with_and_without_gradients(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.model.attention.softmax_blocks.SCORES_AT_ONCE", 1)
    attention, outputs = _attention(word, dropout=0.5).train(), []
    for with_gradients in (True, False):
        torch.manual_seed(2)
        with torch.set_grad_enabled(with_gradients):
            outputs.append(attention(_input(), _valid(_TIME, 20)).output)
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(("word", "mode"), served(OFFLINE, causal(), chunked(8, 8)))
def test_forward_reads_nothing_from_the_device(
    word: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tensors without data, for which there is no autocast: what would wait for a value from the
    # device raises instead.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    attention = _attention(word).to("meta")
    x, valid = _input().to("meta"), _valid(_TIME, 20).to("meta")
    assert attention(x, valid, mode=mode).output.shape == x.shape


def test_scores_that_are_declared_are_all_that_grow_by_the_square(word: str) -> None:
    attention, lengths = mechanism(word).eval(), (1024, 2048)
    if attention.score_bytes(1024):
        declared = [attention.score_bytes(time) for time in lengths]
        assert declared == [4 * _HEADS * time**2 for time in lengths]
        assert attention.score_bytes(1 << 20) == 4 << 25
        return
    with torch.no_grad():
        first, second = (
            peak_bytes(partial(attention, _input(1, time), _valid(time, time=time)))
            for time in lengths
        )
    assert second < 2.6 * first


def test_no_frame_at_all_is_finite(word: str) -> None:
    x = _input().requires_grad_()
    output = _attention(word)(x, _valid(0, 0)).output
    output.sum().backward()
    assert not output.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_bfloat16_is_close_to_float32(word: str) -> None:
    attention, x = _attention(word), _input()
    exact = attention(x, _valid(_TIME, _TIME)).output
    with torch.autocast("cpu", torch.bfloat16):
        rough = attention(x, _valid(_TIME, _TIME)).output
    assert rough.isfinite().all()
    assert (rough.float() - exact).square().mean() < 1e-3 * exact.square().mean()


def test_dropout_acts_in_training_alone(word: str) -> None:
    attention, x = _attention(word, dropout=0.5), _input()
    valid = _valid(_TIME, _TIME)
    assert torch.equal(attention(x, valid).output, attention(x, valid).output)
    attention.train()
    acts = not torch.equal(attention(x, valid).output, attention(x, valid).output)
    # Mechanisms without weights have no such module.
    assert acts == any(isinstance(module, Dropout) for module in attention.modules())


def test_weights_survive_saving(word: str) -> None:
    attention, other = _attention(word), _attention(word)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(attention.state_dict())
    valid = _valid(_TIME, _TIME)
    assert torch.equal(attention(_input(), valid).output, other(_input(), valid).output)


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        (word, mode)
        for word, mode in served(OFFLINE, causal(), causal(5), chunked(8, 16), chunked(4))
        if mechanism(word).capabilities.exact
    ],
)
def test_exact_mechanism_equals_the_naive_equation(word: str, mode: Mode) -> None:
    attention = _attention(word)
    x, valid = _input(), _valid(_TIME, 20)
    expected = attention.reference(x, valid, mode=mode)
    output = attention(x, valid, mode=mode).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("word", "mode"), served(causal(), causal(6), chunked(8), chunked(8, 16)))
def test_no_gradient_from_what_the_mode_hides(word: str, mode: Mode) -> None:
    attention = _attention(word)
    x = _input(batch=1).requires_grad_()
    frame = 20
    output = attention(x, _valid(_TIME), mode=mode).output
    output[0, frame].square().sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=1) > 0
    last = frame if mode.chunk_frames is None else frame // 8 * 8 + 7
    assert seen[frame]
    assert not seen[last + 1 :].any()
    if mode.left_frames is not None:
        # A convolution of queries and keys reaches a few frames farther.
        reach = getattr(getattr(attention, "projection", None), "kernel", 1) - 1
        first = frame if mode.chunk_frames is None else frame // 8 * 8
        assert not seen[: max(0, first - mode.left_frames - reach)].any()


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        (word, mode)
        for word, mode in served(causal(), causal(6), chunked(4), chunked(4, 8))
        if "chunked" in mechanism(word).capabilities.modes
    ],
)
def test_chunk_by_chunk_equals_one_pass(word: str, mode: Mode) -> None:
    attention = _attention(word)
    x, valid = _input(), _valid(_TIME, 22)
    whole = attention(x, valid, mode=mode).output
    state: AttentionState | None = None
    for start, end in [(0, 4), (4, 12), (12, 16), (16, 36), (36, _TIME)]:
        result = attention(x[:, start:end], valid[:, start:end], mode=mode, state=state)
        torch.testing.assert_close(result.output, whole[:, start:end], atol=1e-4, rtol=1e-4)
        assert result.state is not None
        state = result.state.select(torch.tensor([0, 1]))


@pytest.mark.parametrize(("word", "mode"), served(chunked(4)))
def test_state_selects_items(word: str, mode: Mode) -> None:
    attention = _attention(word)
    x, valid = _input(), _valid(_TIME, _TIME)
    state = attention(x[:, :8], valid[:, :8], mode=mode).state
    later = x[:, 8:12], valid[:, 8:12]
    both = attention(*later, mode=mode, state=state).output
    second = state.select(torch.tensor([1]))
    one = attention(later[0][1:], later[1][1:], mode=mode, state=second).output
    torch.testing.assert_close(one, both[1:])


def test_serves_whole_utterances(word: str) -> None:
    assert "offline" in mechanism(word).capabilities.modes


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        (word, mode)
        for word in sorted(ATTENTION)
        for mode in (causal(), chunked(4))
        if mode.kind not in mechanism(word).capabilities.modes
    ],
)
def test_mode_that_is_not_served_is_refused(word: str, mode: Mode) -> None:
    with pytest.raises(ValueError, match="expected a mode among"):
        _attention(word)(_input(), _valid(_TIME, _TIME), mode=mode)
