"""Exact mechanisms against their papers' equations, restated here in float64 for all pairs."""

import math

import pytest
import torch

from asr.model.attention import causal, chunked
from asr.model.attention.positions import AlibiBias, alibi_slopes
from asr.model.attention.softmax import naive_attention
from tests.model.attention.oracles import (
    HEAD_DIM,
    HEADS,
    WIDTH,
    alibi_bias,
    assert_close,
    build,
    distances,
    finish,
    masked_input,
    projected_parts,
    relative_scores,
    softmax_output,
)


def test_reference_is_hand_computed() -> None:
    query = torch.tensor([[[[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]])
    key = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]]])
    value = torch.tensor([[[[1.0], [2.0], [100.0]]]])
    allowed = torch.tensor([[True, True, False], [False, False, False]])
    weight = torch.e / (torch.e + 1)
    output = naive_attention(query, key, value, allowed=allowed)
    torch.testing.assert_close(output.flatten(), torch.tensor([2 - weight, 0.0]))
    bias = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    biased = naive_attention(query, key, value, allowed=allowed, bias=bias)
    torch.testing.assert_close(biased.flatten(), torch.tensor([1.5, 0.0]))


@pytest.mark.parametrize("time", [1, 2, 7, 30])
def test_full(time: int) -> None:
    attention = build("full")
    x, valid = masked_input(time)
    query, key, value = projected_parts(attention, x)
    scores = query @ key.transpose(2, 3) / HEAD_DIM**0.5
    expected = softmax_output(attention, scores, value, distances(time) > -time, valid)
    assert_close(attention(x, valid).output, expected)


def test_alibi_slopes_of_the_paper() -> None:
    assert alibi_slopes(8) == [2.0**-power for power in range(1, 9)]
    assert alibi_slopes(6)[:4] == [2**-2, 2**-4, 2**-6, 2**-8]
    assert alibi_slopes(6)[4:] == pytest.approx([2**-1, 2**-3])


def test_heads_that_do_not_split() -> None:
    with pytest.raises(ValueError, match="expected an even number of heads with alibi_sides"):
        AlibiBias(heads=3, sides="split")


@pytest.mark.parametrize("sides", ["symmetric", "split", "two_sided"])
def test_alibi(sides: str) -> None:
    attention = build("alibi", alibi_sides=sides)
    x, valid = masked_input(19)
    query, key, value = projected_parts(attention, x)
    distance = distances(19)
    scores = query @ key.transpose(2, 3) / HEAD_DIM**0.5 + alibi_bias(sides, distance)
    expected = softmax_output(attention, scores, value, distance > -19, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_alibi_that_sees_one_side_refuses_causal_mode() -> None:
    attention = build("alibi", alibi_sides="split")
    with pytest.raises(ValueError, match="expected a mode among"):
        attention.check_mode(causal())


@pytest.mark.parametrize("time", [1, 2, 3, 8, 40])
def test_transformer_xl_equals_explicit_distances(time: int) -> None:
    attention = build("transformer_xl")
    x, valid = masked_input(time)
    query, key, value = projected_parts(attention, x)
    scores = relative_scores(attention, query, key)
    expected = softmax_output(attention, scores, value, distances(time) > -time, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_transformer_xl_knows_direction() -> None:
    attention = build("transformer_xl")
    x, _ = masked_input(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    forward = attention(x, valid).output
    backward = attention(x.flip(1), valid).output.flip(1)
    assert (forward - backward).abs().max() > 1e-2


def test_transformer_xl_sees_no_gradient_through_its_memory() -> None:
    attention = build("transformer_xl")
    x, valid = masked_input(16)
    first = x[:, :8].clone().requires_grad_()
    state = attention(first, valid[:, :8], mode=chunked(8)).state
    attention(x[:, 8:], valid[:, 8:], mode=chunked(8), state=state).output.sum().backward()
    assert first.grad is None


@pytest.mark.parametrize("time", [5, 40, 130])
def test_adaptive_span_masks_after_the_softmax(time: int) -> None:
    attention = build("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.uniform_(span.fraction, generator=torch.Generator().manual_seed(0))
    span.measure()
    x, valid = masked_input(time)
    query, key, value = projected_parts(attention, x)
    distance = distances(time)
    spans = 20 * span.fraction.double().view(2, HEADS, 1, 1)
    reach = torch.where(distance >= 0, spans[0], spans[1])
    mask = ((8 + reach - distance.abs()) / 8).clamp(0, 1)
    scores = relative_scores(attention, query, key)
    weights = scores.masked_fill(~valid[:, None, None], -math.inf).softmax(dim=3) * mask
    weights = weights / weights.sum(dim=3, keepdim=True)
    expected = finish(attention, weights @ value, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_adaptive_span_learns_through_the_ramp() -> None:
    attention = build("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.constant_(span.fraction, 0.3)
    span.measure()
    x, valid = masked_input(30)
    attention(x, valid).output.square().sum().backward()
    assert span.fraction.grad is not None
    assert span.fraction.grad.abs().min() > 0


def test_adaptive_span_follows_weights_that_are_replaced() -> None:
    attention = build("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.constant_(span.fraction, 0.0)
    attention.after_loading()
    assert span.window_frames == (7, 7)
    torch.nn.init.constant_(span.fraction, 0.5)
    attention.after_loading()
    assert span.window_frames == (17, 17)
    other = build("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    other.load_state_dict(attention.state_dict())
    assert other.scores.span is not None
    assert other.scores.span.window_frames == (17, 17)


def test_adaptive_span_is_clamped_and_trims_keys() -> None:
    attention = build("adaptive_span", span={"max_frames": 100, "ramp_frames": 4})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.constant_(span.fraction, 0.5)
    span.fraction.data[0, 1], span.fraction.data[1, 2] = 1.7, -0.4
    attention.after_step()
    assert span.fraction.min() == 0
    assert span.fraction.max() == 1
    assert span.window_frames == (103, 53)
    losses = attention(*masked_input(5)).losses
    weight = span.config.loss_weight
    expected = weight * 100 * (span.fraction[0].mean() + span.fraction[1].mean())
    torch.testing.assert_close(losses["span"], expected)


def test_all_attention_has_one_softmax() -> None:
    attention = build("all_attention", persistent_vectors=7)
    persistent = attention.persistent
    assert persistent is not None
    x, valid = masked_input(11)
    query, key, value = projected_parts(attention, x)
    scores = relative_scores(attention, query, key)
    scores = scores.masked_fill(~valid[:, None, None], -math.inf)
    more_keys = persistent.key.double() * HEAD_DIM**0.5
    content = query + attention.scores.content_bias.double().unsqueeze(1)
    more = content @ more_keys.transpose(1, 2) / HEAD_DIM**0.5
    weights = torch.cat([scores, more], dim=3).softmax(dim=3)
    more_values = persistent.value.double() * 7**0.5
    context = weights[..., :11] @ value + weights[..., 11:] @ more_values
    expected = finish(attention, context, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_all_attention_has_as_many_vectors_as_a_feed_forward_module_has_units() -> None:
    attention = build("all_attention")
    assert attention.persistent is not None
    assert attention.persistent.key.shape == (HEADS, 4 * WIDTH, HEAD_DIM)
    assert attention.capabilities.replaces_feed_forward
