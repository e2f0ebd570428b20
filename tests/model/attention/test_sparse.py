"""Longformer and LogSparse against their papers' equations, restated here for all pairs."""

import math

import pytest
import torch
from torch import Tensor

from asr.model.attention import OFFLINE, Mode, build_attentions, causal, chunked
from asr.model.attention.base import split_heads
from asr.model.attention.keys import GlobalFrames
from asr.model.encoders.base import parse_attention
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


def _in_window(time: int, *, window: int, dilation: int = 1) -> Tensor:
    distance = distances(time)
    return (distance.abs() <= window * dilation) & (distance % dilation == 0)


@pytest.mark.parametrize("time", [4, 33, 150])
@pytest.mark.parametrize("window", [0, 3, 40])
def test_longformer_window(time: int, window: int) -> None:
    attention = build("longformer", window_frames=window)
    x, valid = masked_input(time)
    query, key, value = projected_parts(attention, x)
    scores = relative_scores(attention, query, key)
    allowed = _in_window(time, window=window) | torch.eye(time, dtype=torch.bool)
    expected = softmax_output(attention, scores, value, allowed, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_longformer_dilation_of_each_head() -> None:
    attention = build("longformer", window_frames=4, dilation=[1, 1, 3, 2])
    x, valid = masked_input(101)
    query, key, value = projected_parts(attention, x)
    allowed = torch.stack(
        [_in_window(101, window=4, dilation=dilation) for dilation in (1, 1, 3, 2)]
    )
    scores = relative_scores(attention, query, key)
    expected = softmax_output(attention, scores, value, allowed, valid)
    assert_close(attention(x, valid).output, expected)
    assert_close(attention.reference(x, valid), expected)


def test_longformer_global_frames_have_their_own_projections() -> None:
    attention = build("longformer", window_frames=3, global_frames=3, positions="none")
    assert attention.global_frames is not None
    time = 90
    x = torch.randn(1, time, WIDTH, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(time).unsqueeze(0) < 60
    places = [0, 20, 40]
    query, key, value = projected_parts(attention, x)
    allowed = _in_window(time, window=3)
    allowed[:, places] = True
    scores = query @ key.transpose(2, 3) / HEAD_DIM**0.5
    scores = scores.masked_fill(~(allowed & valid[:, None, None]), -math.inf)
    context = scores.softmax(dim=3) @ value
    own = attention.global_frames.query_key_value(x)
    query, key, value = (part.double() for part in split_heads(own, parts=3, heads=HEADS))
    scores = query @ key.transpose(2, 3) / HEAD_DIM**0.5
    gathered = scores.masked_fill(~valid[:, None, None], -math.inf).softmax(dim=3) @ value
    context[:, :, places] = gathered[:, :, places]
    assert_close(attention(x, valid).output, finish(attention, context, valid))


def test_longformer_in_short_utterances_with_more_global_frames_than_frames() -> None:
    attention = build("longformer", window_frames=3, global_frames=8)
    x, valid = masked_input(5)
    assert_close(attention(x, valid).output, attention.reference(x, valid))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("longformer", {"window_frames": 5, "dilation": 2}),
        ("logsparse", {"local_frames": 8, "restart_frames": 64}),
    ],
)
def test_what_cannot_be_exported_says_so(kind: str, settings: dict[str, int]) -> None:
    x, valid = masked_input(50)
    dims = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("time", min=4, max=512)}
    with pytest.raises(
        ValueError, match=r"model\.attention\.(dilation|restart_frames).* to export"
    ):
        torch.export.export(
            build(kind, **settings), (x, valid), dynamic_shapes={"x": dims, "valid_mask": dims}
        )


def test_global_frames_drop_weights_too() -> None:
    torch.manual_seed(0)
    frames = GlobalFrames(count=3, width=8, heads=2, dropout=0.5)
    x, valid = torch.randn(1, 9, 8), torch.ones(1, 9, dtype=torch.bool)
    context, places = torch.zeros(1, 2, 9, 4), frames.places(valid)
    first, second = (frames.overwrite(context, x, valid, places) for _ in range(2))
    assert (first[:, :, places[0]] != second[:, :, places[0]]).any(dim=3).all()
    frames.eval()
    first, second = (frames.overwrite(context, x, valid, places) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("time", [2, 8])
def test_gradients_of_global_frames(time: int) -> None:
    torch.manual_seed(0)
    frames = GlobalFrames(count=4, width=4, heads=2, dropout=0.0).double()
    context = torch.randn(1, 2, time, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, time, 4, dtype=torch.float64, requires_grad=True)
    valid = torch.ones(1, time, dtype=torch.bool)
    places = frames.places(valid)
    assert torch.autograd.gradcheck(
        lambda context, x: frames.overwrite(context, x, valid, places), (context, x)
    )


def test_longformer_sees_the_window_of_each_layer() -> None:
    config = parse_attention({"kind": "longformer", "window_frames": [2, 5]})
    layers = build_attentions(config, width=WIDTH, heads=HEADS, dropout=0.0, layers=2)
    x = torch.randn(1, 101, WIDTH, requires_grad=True)
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
    attention = build(
        "logsparse",
        local_frames=3,
        restart_frames=restart,
        positions=positions,
        query_key_kernel_frames=1,
    )
    time = 70
    x, valid = masked_input(time)
    query, key, value = projected_parts(attention, x)
    scores = query @ key.transpose(2, 3) / HEAD_DIM**0.5
    if positions == "alibi":
        scores = scores + alibi_bias("two_sided", distances(time))
    if positions == "relative":
        scores = relative_scores(attention, query, key)
    allowed = _sparse(time, 3, restart, mode)
    expected = softmax_output(attention, scores, value, allowed, valid)
    assert_close(attention(x, valid, mode=mode).output, expected)
    assert_close(attention.reference(x, valid, mode=mode), expected)


def test_logsparse_reaches_its_past_in_as_many_layers_as_bits() -> None:
    for bits, offline in ((6, 4), (8, 5), (10, 6)):
        time = 1 << bits
        for mode, layers in ((causal(), bits), (OFFLINE, offline)):
            distance = distances(time).abs()
            hop = (distance & (distance - 1).clamp(min=0)) == 0
            if mode.kind == "causal":
                hop = hop & (distances(time) >= 0)
            reached = torch.matrix_power(hop.float(), layers) > 0
            expected = distances(time) >= 0 if mode.kind == "causal" else distance >= 0
            assert torch.equal(reached, expected)


def test_logsparse_convolves_queries_and_keys_alone_and_causally() -> None:
    attention = build("logsparse", query_key_kernel_frames=4)
    projection = attention.projection
    x = torch.randn(1, 12, WIDTH, requires_grad=True)
    for part, reach in ((0, 4), (1, 4), (2, 1)):
        projected = projection(x, torch.zeros(1, 3, WIDTH)).chunk(3, dim=2)[part]
        (gradient,) = torch.autograd.grad(projected[0, 8].sum(), x)
        seen = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
        assert seen == list(range(9 - reach, 9))
