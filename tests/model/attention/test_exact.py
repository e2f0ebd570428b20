"""Exact mechanisms against their papers' equations, restated here in float64 for all pairs."""

import math

import pytest
import torch
from torch import Tensor

from asr.model.attention import OFFLINE, Mode, build_attentions, causal, chunked
from asr.model.attention.heads import join_heads, split_heads
from asr.model.attention.positions import alibi_slopes
from asr.model.attention.reference import naive_attention
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.encoders.base import parse_attention

_WIDTH, _HEADS, _HEAD_DIM = 24, 4, 6


def _attention(kind: object, **settings: object) -> SoftmaxAttention:
    torch.manual_seed(0)
    config = parse_attention({"kind": kind, **settings})
    (attention,) = build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=1)
    assert isinstance(attention, SoftmaxAttention)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    attention.after_step()
    return attention.eval()


def _masked_input(time: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, time, _WIDTH, generator=torch.Generator().manual_seed(time))
    return x, torch.arange(time) < torch.tensor([[time], [max(1, time - 3)]])


def _distance(time: int) -> Tensor:
    return torch.arange(time).unsqueeze(1) - torch.arange(time)


def _parts(attention: SoftmaxAttention, x: Tensor) -> tuple[Tensor, ...]:
    projected = attention.projection(x, x[:, :0])
    return tuple(part.double() for part in split_heads(projected, parts=3, heads=_HEADS))


def _finish(attention: SoftmaxAttention, context: Tensor, valid: Tensor) -> Tensor:
    output: Tensor = attention.output(join_heads(context).float())
    return output * valid.unsqueeze(2)


def _softmax_output(
    attention: SoftmaxAttention, scores: Tensor, value: Tensor, allowed: Tensor, valid: Tensor
) -> Tensor:
    weights = scores.masked_fill(~(allowed & valid[:, None, None]), -math.inf).softmax(dim=3)
    # A padded frame may have no key at all.
    return _finish(attention, weights.nan_to_num() @ value, valid)


def _close(output: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


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
    attention = _attention("full")
    x, valid = _masked_input(time)
    query, key, value = _parts(attention, x)
    scores = query @ key.transpose(2, 3) / _HEAD_DIM**0.5
    expected = _softmax_output(attention, scores, value, _distance(time) > -time, valid)
    _close(attention(x, valid).output, expected)


def test_alibi_slopes_of_the_paper() -> None:
    assert alibi_slopes(8) == [2.0**-power for power in range(1, 9)]
    assert alibi_slopes(6)[:4] == [2**-2, 2**-4, 2**-6, 2**-8]
    assert alibi_slopes(6)[4:] == pytest.approx([2**-1, 2**-3])


def _alibi_bias(sides: str, distance: Tensor) -> Tensor:
    slopes = 2.0 ** -torch.tensor([2, 4, 6, 8], dtype=torch.float64).view(-1, 1, 1)
    if sides == "symmetric":
        return -slopes * distance.abs()
    if sides == "two_sided":
        return torch.where(distance > 0, -slopes * distance, 2 * slopes * distance)
    half = torch.tensor(alibi_slopes(_HEADS // 2), dtype=torch.float64).view(-1, 1, 1)
    past = (-half * distance).masked_fill(distance < 0, -math.inf)
    future = (half * distance).masked_fill(distance > 0, -math.inf)
    return torch.cat([past, future])


@pytest.mark.parametrize("sides", ["symmetric", "split", "two_sided"])
def test_alibi(sides: str) -> None:
    attention = _attention("alibi", alibi_sides=sides)
    x, valid = _masked_input(19)
    query, key, value = _parts(attention, x)
    distance = _distance(19)
    scores = query @ key.transpose(2, 3) / _HEAD_DIM**0.5 + _alibi_bias(sides, distance)
    expected = _softmax_output(attention, scores, value, distance > -19, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_alibi_that_sees_one_side_refuses_causal_mode() -> None:
    attention = _attention("alibi", alibi_sides="split")
    with pytest.raises(ValueError, match="expected a mode among"):
        attention.check_mode(causal())


def _relative_scores(attention: SoftmaxAttention, query: Tensor, key: Tensor) -> Tensor:
    relative = attention.scores.relative
    assert relative is not None
    distance = _distance(key.shape[2])
    rate = 10000.0 ** (-torch.arange(0, _WIDTH, 2, dtype=torch.float64) / _WIDTH)
    angles = distance.unsqueeze(2) * rate
    table = torch.cat([angles.sin(), angles.cos()], dim=2) @ relative.projection.weight.double().T
    table = table.view(*distance.shape, _HEADS, _HEAD_DIM)
    content = (query + attention.scores.content_bias.double().unsqueeze(1)) @ key.transpose(2, 3)
    biased = query + relative.bias.double().unsqueeze(1)
    scores: Tensor = content + torch.einsum("bhid,ijhd->bhij", biased, table)
    scaled: Tensor = scores / _HEAD_DIM**0.5
    return scaled


@pytest.mark.parametrize("time", [1, 2, 3, 8, 40])
def test_transformer_xl_equals_explicit_distances(time: int) -> None:
    attention = _attention("transformer_xl")
    x, valid = _masked_input(time)
    query, key, value = _parts(attention, x)
    scores = _relative_scores(attention, query, key)
    expected = _softmax_output(attention, scores, value, _distance(time) > -time, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_transformer_xl_knows_direction() -> None:
    attention = _attention("transformer_xl")
    x, _ = _masked_input(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    forward = attention(x, valid).output
    backward = attention(x.flip(1), valid).output.flip(1)
    assert (forward - backward).abs().max() > 1e-2


def test_transformer_xl_sees_no_gradient_through_its_memory() -> None:
    attention = _attention("transformer_xl")
    x, valid = _masked_input(16)
    first = x[:, :8].clone().requires_grad_()
    state = attention(first, valid[:, :8], mode=chunked(8)).state
    attention(x[:, 8:], valid[:, 8:], mode=chunked(8), state=state).output.sum().backward()
    assert first.grad is None


@pytest.mark.parametrize("time", [5, 40, 130])
def test_adaptive_span_masks_after_the_softmax(time: int) -> None:
    attention = _attention("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.uniform_(span.fraction, generator=torch.Generator().manual_seed(0))
    x, valid = _masked_input(time)
    query, key, value = _parts(attention, x)
    distance = _distance(time)
    spans = 20 * span.fraction.double().view(2, _HEADS, 1, 1)
    reach = torch.where(distance >= 0, spans[0], spans[1])
    mask = ((8 + reach - distance.abs()) / 8).clamp(0, 1)
    scores = _relative_scores(attention, query, key)
    weights = scores.masked_fill(~valid[:, None, None], -math.inf).softmax(dim=3) * mask
    weights = weights / weights.sum(dim=3, keepdim=True)
    expected = _finish(attention, weights @ value, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_adaptive_span_learns_through_the_ramp() -> None:
    attention = _attention("adaptive_span", span={"max_frames": 20, "ramp_frames": 8})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.constant_(span.fraction, 0.3)
    x, valid = _masked_input(30)
    attention(x, valid).output.square().sum().backward()
    assert span.fraction.grad is not None
    assert span.fraction.grad.abs().min() > 0


def test_adaptive_span_is_clamped_and_trims_keys() -> None:
    attention = _attention("adaptive_span", span={"max_frames": 100, "ramp_frames": 4})
    span = attention.scores.span
    assert span is not None
    torch.nn.init.constant_(span.fraction, 0.5)
    span.fraction.data[0, 1], span.fraction.data[1, 2] = 1.7, -0.4
    attention.after_step()
    assert span.fraction.min() == 0
    assert span.fraction.max() == 1
    assert span.window_frames == (103, 53)
    losses = attention(*_masked_input(5)).losses
    weight = span.config.loss_weight
    expected = weight * 100 * (span.fraction[0].mean() + span.fraction[1].mean())
    torch.testing.assert_close(losses["span"], expected)


def test_all_attention_has_one_softmax() -> None:
    attention = _attention("all_attention", persistent_vectors=7)
    persistent = attention.persistent
    assert persistent is not None
    x, valid = _masked_input(11)
    query, key, value = _parts(attention, x)
    scores = _relative_scores(attention, query, key)
    scores = scores.masked_fill(~valid[:, None, None], -math.inf)
    more_keys = persistent.key.double() * _HEAD_DIM**0.5
    content = query + attention.scores.content_bias.double().unsqueeze(1)
    more = content @ more_keys.transpose(1, 2) / _HEAD_DIM**0.5
    weights = torch.cat([scores, more], dim=3).softmax(dim=3)
    more_values = persistent.value.double() * 7**0.5
    context = weights[..., :11] @ value + weights[..., 11:] @ more_values
    expected = _finish(attention, context, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_all_attention_has_as_many_vectors_as_a_feed_forward_module_has_units() -> None:
    attention = _attention("all_attention")
    assert attention.persistent is not None
    assert attention.persistent.key.shape == (_HEADS, 4 * _WIDTH, _HEAD_DIM)
    assert attention.capabilities.replaces_feed_forward


def _in_window(time: int, *, window: int, dilation: int = 1) -> Tensor:
    distance = _distance(time)
    return (distance.abs() <= window * dilation) & (distance % dilation == 0)


@pytest.mark.parametrize("time", [4, 33, 150])
@pytest.mark.parametrize("window", [0, 3, 40])
def test_longformer_window(time: int, window: int) -> None:
    attention = _attention("longformer", window_frames=window)
    x, valid = _masked_input(time)
    query, key, value = _parts(attention, x)
    scores = _relative_scores(attention, query, key)
    allowed = _in_window(time, window=window) | torch.eye(time, dtype=torch.bool)
    expected = _softmax_output(attention, scores, value, allowed, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_longformer_dilation_of_each_head() -> None:
    attention = _attention("longformer", window_frames=4, dilation=[1, 1, 3, 2])
    x, valid = _masked_input(101)
    query, key, value = _parts(attention, x)
    allowed = torch.stack(
        [_in_window(101, window=4, dilation=dilation) for dilation in (1, 1, 3, 2)]
    )
    scores = _relative_scores(attention, query, key)
    expected = _softmax_output(attention, scores, value, allowed, valid)
    _close(attention(x, valid).output, expected)
    _close(attention.reference(x, valid), expected)


def test_longformer_global_frames_have_their_own_projections() -> None:
    attention = _attention("longformer", window_frames=3, global_frames=3, positions="none")
    assert attention.global_frames is not None
    time = 90
    x = torch.randn(1, time, _WIDTH, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(time).unsqueeze(0) < 60
    places = [0, 20, 40]
    query, key, value = _parts(attention, x)
    allowed = _in_window(time, window=3)
    allowed[:, places] = True
    scores = query @ key.transpose(2, 3) / _HEAD_DIM**0.5
    scores = scores.masked_fill(~(allowed & valid[:, None, None]), -math.inf)
    context = scores.softmax(dim=3) @ value
    own = attention.global_frames.query_key_value(x)
    query, key, value = (part.double() for part in split_heads(own, parts=3, heads=_HEADS))
    scores = query @ key.transpose(2, 3) / _HEAD_DIM**0.5
    gathered = scores.masked_fill(~valid[:, None, None], -math.inf).softmax(dim=3) @ value
    context[:, :, places] = gathered[:, :, places]
    _close(attention(x, valid).output, _finish(attention, context, valid))


def test_longformer_in_short_utterances_with_more_global_frames_than_frames() -> None:
    attention = _attention("longformer", window_frames=3, global_frames=8)
    x, valid = _masked_input(5)
    _close(attention(x, valid).output, attention.reference(x, valid))


def test_longformer_sees_the_window_of_each_layer() -> None:
    config = parse_attention({"kind": "longformer", "window_frames": [2, 5]})
    layers = build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=2)
    x = torch.randn(1, 101, _WIDTH, requires_grad=True)
    output = x
    for layer in layers:
        output = layer(output, torch.ones(1, 101, dtype=torch.bool)).output
    torch.autograd.backward(output[0, 50].sum())
    assert x.grad is not None
    assert x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist() == list(range(43, 58))


def _sparse(time: int, local: int, restart: int | None, mode: Mode) -> Tensor:
    allowed = torch.zeros(time, time, dtype=torch.bool)
    for i in range(time):
        for j in range(time):
            distance = abs(i - j) % restart if restart else abs(i - j)
            power = distance == 0 or math.log2(distance).is_integer()
            allowed[i, j] = power or distance <= local
            if mode.kind != "offline" and j > i:
                allowed[i, j] = False
            if mode.chunk_frames and i // mode.chunk_frames == j // mode.chunk_frames:
                allowed[i, j] = True
    return allowed


@pytest.mark.parametrize("mode", [OFFLINE, causal(), chunked(8)], ids=lambda mode: mode.kind)
@pytest.mark.parametrize("restart", [None, 16])
@pytest.mark.parametrize("positions", ["none", "alibi", "relative"])
def test_logsparse(mode: Mode, restart: int | None, positions: str) -> None:
    attention = _attention(
        "logsparse",
        local_frames=3,
        restart_frames=restart,
        positions=positions,
        query_key_kernel_frames=1,
    )
    time = 70
    x, valid = _masked_input(time)
    query, key, value = _parts(attention, x)
    scores = query @ key.transpose(2, 3) / _HEAD_DIM**0.5
    if positions == "alibi":
        scores = scores + _alibi_bias("two_sided", _distance(time))
    if positions == "relative":
        scores = _relative_scores(attention, query, key)
    allowed = _sparse(time, 3, restart, mode)
    expected = _softmax_output(attention, scores, value, allowed, valid)
    _close(attention(x, valid, mode=mode).output, expected)
    _close(attention.reference(x, valid, mode=mode), expected)


def test_logsparse_reaches_its_past_in_as_many_layers_as_bits() -> None:
    for bits, offline in ((6, 4), (8, 5), (10, 6)):
        time = 1 << bits
        for mode, layers in ((causal(), bits), (OFFLINE, offline)):
            distance = _distance(time).abs()
            hop = (distance & (distance - 1).clamp(min=0)) == 0
            if mode.kind == "causal":
                hop = hop & (_distance(time) >= 0)
            reached = torch.matrix_power(hop.float(), layers) > 0
            expected = _distance(time) >= 0 if mode.kind == "causal" else distance >= 0
            assert torch.equal(reached, expected)


def test_logsparse_convolves_queries_and_keys_alone_and_causally() -> None:
    attention = _attention("logsparse", query_key_kernel_frames=4)
    projection = attention.projection
    x = torch.randn(1, 12, _WIDTH, requires_grad=True)
    for part, reach in ((0, 4), (1, 4), (2, 1)):
        projected = projection(x, torch.zeros(1, 3, _WIDTH)).chunk(3, dim=2)[part]
        (gradient,) = torch.autograd.grad(projected[0, 8].sum(), x)
        seen = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
        assert seen == list(range(9 - reach, 9))


_COMBINATIONS: list[dict[str, object]] = [
    {"kind": "longformer", "window_frames": 5, "positions": "alibi"},
    {"kind": "longformer", "window_frames": 5, "persistent_vectors": 6, "dilation": 2},
    {"kind": "longformer", "window_frames": 5, "query_key_kernel_frames": 3},
    {"kind": "longformer", "window_frames": 5, "global_frames": 4, "dilation": [1, 1, 2, 2]},
    {"kind": "adaptive_span", "span": {"initial_fraction": 0.01}, "persistent_vectors": 5},
    {"kind": "adaptive_span", "span": {"initial_fraction": 0.01}, "positions": "alibi"},
    {"kind": "logsparse", "persistent_vectors": 5, "positions": "relative"},
    {"kind": "alibi", "persistent_vectors": 5, "query_key_kernel_frames": 2},
    {"kind": "full", "persistent_vectors": 5},
    {"kind": "all_attention", "persistent_vectors": 5, "window_frames": 9},
]


@pytest.mark.parametrize("section", _COMBINATIONS, ids=str)
@pytest.mark.parametrize(
    "mode", [OFFLINE, causal(), causal(6), chunked(4), chunked(8, 16)], ids=str
)
def test_axes_combine(section: dict[str, object], mode: Mode) -> None:
    attention = _attention(**section)
    if mode.kind not in attention.capabilities.modes:
        return
    x, valid = _masked_input(150)
    expected = attention.reference(x, valid, mode=mode)
    _close(attention(x, valid, mode=mode).output, expected)
    if mode.kind == "chunked":
        state, outputs = None, []
        for start, end in ((0, 8), (8, 72), (72, 104), (104, 150)):
            result = attention(x[:, start:end], valid[:, start:end], mode=mode, state=state)
            state = result.state
            outputs.append(result.output)
        _close(torch.cat(outputs, dim=1), expected)


@pytest.mark.parametrize("section", _COMBINATIONS, ids=str)
def test_slices_of_long_input_equal_one_pass(
    section: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = _attention(**section)
    x, valid = _masked_input(333)
    served = attention.capabilities.modes
    modes = [mode for mode in (OFFLINE, chunked(8, 16)) if mode.kind in served]
    expected = [attention(x, valid, mode=mode).output for mode in modes]
    monkeypatch.setattr("asr.model.attention.engine.SCORES_AT_ONCE", 1)
    with torch.no_grad():
        for mode, whole in zip(modes, expected, strict=True):
            _close(attention(x, valid, mode=mode).output, whole)


Section = dict[str, object]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "longformer", "window_frames": -1}, "windows of no negative"),
        ({"kind": "longformer", "dilation": 0}, "dilations of positive frames"),
        ({"kind": "full", "dilation": 2}, "a window where there is a dilation"),
        ({"kind": "adaptive_span", "window_frames": 3}, "learned spans alone"),
        ({"kind": "adaptive_span", "pattern": "exponential"}, "pointless in sparse keys"),
        ({"kind": "full", "global_frames": 2}, "without one all frames are"),
        ({"kind": "logsparse", "window_frames": 3}, "set local_frames"),
        ({"kind": "full", "local_frames": 3}, "in the exponential pattern alone"),
        ({"kind": "full", "persistent_vectors": -1}, "no negative number of persistent"),
    ],
)
def test_axes_that_do_not_combine_are_refused(section: Section, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_attention(section)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_frames": [1, 2, 3]}, "one for each of 1 layers, found 3"),
        ({"dilation": [1, 2]}, "one for each of 4 heads, found 2"),
    ],
)
def test_wrong_number_of_windows_or_dilations_is_refused(settings: Section, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _attention("longformer", **settings)


def test_chunk_that_cuts_a_dilated_window_is_refused() -> None:
    attention = _attention("longformer", dilation=4)
    with pytest.raises(ValueError, match="multiples of the dilation 4, found 6"):
        attention.check_mode(chunked(6))
