"""Random features against the softmax that they estimate."""

import copy
import math

import pytest
import torch
from torch import Tensor

from asr.model.attention import OFFLINE, Mode, build_attentions, causal, chunked
from asr.model.attention.base import join_heads, split_heads
from asr.model.attention.performer import PerformerAttention, orthogonal_features
from asr.model.encoders.base import parse_attention

_WIDTH, _HEADS = 32, 2


def _attention(**settings: object) -> PerformerAttention:
    torch.manual_seed(0)
    config = parse_attention({"kind": "performer", **settings})
    (attention,) = build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=1)
    assert isinstance(attention, PerformerAttention)
    return attention.eval()


def _input(time: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    x = scale * torch.randn(2, time, _WIDTH, generator=torch.Generator().manual_seed(time))
    return x, torch.arange(time) < torch.tensor([[time], [max(1, time - 5)]])


def _dense(attention: PerformerAttention, x: Tensor, valid: Tensor, allowed: Tensor) -> Tensor:
    """Products of features for all pairs, in float64."""
    query, key, value = split_heads(attention.query_key_value(x), parts=3, heads=_HEADS)
    features = [attention._exponents(each).double().exp() for each in (query, key)]
    weights = features[0] @ features[1].transpose(2, 3)
    weights = weights * (allowed & valid[:, None, None])
    context = (weights / weights.sum(dim=3, keepdim=True)).nan_to_num() @ value.double()
    output: Tensor = attention.output(join_heads(context).float()) * valid.unsqueeze(2)
    return output


@pytest.mark.parametrize("mode", [OFFLINE, causal(), chunked(8)], ids=lambda mode: mode.kind)
@pytest.mark.parametrize("kernel", ["softmax", "relu"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_sums_equal_all_pairs(mode: Mode, kernel: str, similarity: str) -> None:
    attention = _attention(kernel=kernel, similarity=similarity)
    x, valid = _input(150)
    frames = torch.arange(150)
    allowed = torch.ones(150, 150, dtype=torch.bool)
    if mode.kind == "causal":
        allowed = frames.unsqueeze(1) >= frames
    if mode.kind == "chunked":
        allowed = frames.unsqueeze(1) // 8 >= frames // 8
    expected = _dense(attention, x, valid, allowed)
    output = attention(x, valid, mode=mode).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)


def _error(features: int, seed: int, *, orthogonal: bool = True) -> float:
    """Root mean square error of softmax attention's output at small norms, by positive features."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (
        0.4 * torch.randn(64, 16, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    if orthogonal:
        rows = orthogonal_features(features, 16, generator).double()
    else:
        rows = torch.randn(features, 16, generator=generator, dtype=torch.float64)
    maps = []
    for each in (query, key):
        scaled = each / 16**0.25
        maps.append((scaled @ rows.T - scaled.square().sum(dim=1, keepdim=True) / 2).exp())
    weights = maps[0] @ maps[1].T
    estimate = weights / weights.sum(dim=1, keepdim=True) @ value
    exact = (query @ key.T / 4).softmax(dim=1) @ value
    return float((estimate - exact).square().mean().sqrt())


def test_error_falls_with_the_root_of_the_features() -> None:
    counts = [64, 256, 1024]
    errors = [sum(_error(count, seed) for seed in range(8)) / 8 for count in counts]
    slope = math.log(errors[-1] / errors[0]) / math.log(counts[-1] / counts[0])
    assert -0.6 < slope < -0.4


def test_orthogonal_features_are_no_worse_than_independent_ones() -> None:
    errors = [
        sum(_error(16, seed, orthogonal=orthogonal) for seed in range(32))
        for orthogonal in (True, False)
    ]
    assert errors[0] <= errors[1]


def test_orthogonal_features_are_orthogonal_in_blocks_with_norms_of_gaussian_rows() -> None:
    rows = orthogonal_features(4000, 8, torch.Generator().manual_seed(0))
    block = rows[:8] / rows[:8].norm(dim=1, keepdim=True)
    torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
    # No direction is preferred: without the signs of QR it is 0.13.
    assert rows.mean(dim=0).abs().max() < 0.08
    norms = rows.norm(dim=1)
    assert float(norms.square().mean()) == pytest.approx(8, rel=0.03)
    # The mean of chi with 8 degrees is 2.7389.
    assert float(norms.var()) == pytest.approx(8 - 2.7389**2, rel=0.1)


def test_large_norms_stay_finite() -> None:
    attention = _attention(similarity="dot")
    x, valid = _input(40, scale=300.0)
    for mode in (OFFLINE, causal(), chunked(8)):
        assert attention(x, valid, mode=mode).output.isfinite().all()


def test_features_are_drawn_anew_after_steps_alone_and_follow_the_checkpoint() -> None:
    attention, other = _attention(redraw_steps=2), _attention(redraw_steps=2)
    first = attention.projection.clone()
    attention(*_input(9))
    attention.after_step()
    assert torch.equal(attention.projection, first)
    attention.after_step()
    assert not torch.equal(attention.projection, first)
    other.load_state_dict(attention.state_dict())
    assert torch.equal(other.projection, attention.projection)
    for each in (attention, other):
        each.after_step()
        each.after_step()
    assert torch.equal(other.projection, attention.projection)


def test_layers_have_features_of_their_own() -> None:
    config = parse_attention({"kind": "performer"})
    first, second = build_attentions(config, width=32, heads=2, dropout=0.0, layers=2)
    assert isinstance(first, PerformerAttention)
    assert isinstance(second, PerformerAttention)
    assert not torch.equal(first.projection, second.projection)


@pytest.mark.parametrize("scale", [1.0, 20.0, 40.0])
def test_later_frames_do_not_make_earlier_ones_vanish(scale: float) -> None:
    attention = _attention(similarity="dot")
    x, valid = _input(64)
    # A long key far from all features: its exponents are small.
    x = torch.cat([scale * x[:, :1], x[:, 1:]], dim=1)
    alone = attention(x[:, :1], valid[:, :1], mode=causal()).output
    among = attention(x, valid, mode=causal()).output[:, :1]
    torch.testing.assert_close(among, alone, rtol=1e-4, atol=1e-4)


def test_copies_follow_their_own_steps() -> None:
    attention = _attention(redraw_steps=2)
    other = copy.deepcopy(attention)
    for _ in range(4):
        attention.after_step()
    other.load_state_dict(attention.state_dict())
    assert torch.equal(other.projection, attention.projection)


def test_limited_left_context_is_refused() -> None:
    with pytest.raises(ValueError, match="running sums cannot forget"):
        _attention().check_mode(chunked(8, 16))


@pytest.mark.parametrize(("name", "value"), [("features", 0), ("redraw_steps", 0)])
def test_value_out_of_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        parse_attention({"kind": "performer", name: value})
