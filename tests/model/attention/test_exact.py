"""Exact mechanisms against the naive reference under their own mask and bias."""

import pytest
import torch
from torch import Tensor

from asr.model.attention.full import FullAttention, FullConfig
from asr.model.attention.heads import join_heads, split_heads
from asr.model.attention.reference import naive_attention
from asr.model.attention.transformer_xl import TransformerXlAttention, TransformerXlConfig
from asr.model.positions import sinusoids

_WIDTH, _HEADS = 24, 4


def _masked_input(time: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, time, _WIDTH, generator=torch.Generator().manual_seed(time))
    return x, torch.arange(time) < torch.tensor([[time], [max(1, time - 3)]])


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
    torch.manual_seed(0)
    attention = FullAttention(FullConfig(), width=_WIDTH, heads=_HEADS, dropout=0.0).eval()
    x, valid = _masked_input(time)
    query, key, value = split_heads(attention.query_key_value(x), parts=3, heads=_HEADS)
    context = naive_attention(query, key, value, allowed=valid[:, None, None, :])
    expected = attention.output(join_heads(context)) * valid.unsqueeze(2)
    torch.testing.assert_close(attention(x, valid).output, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("time", [1, 2, 3, 8, 40])
def test_transformer_xl_equals_explicit_distances(time: int) -> None:
    torch.manual_seed(0)
    attention = TransformerXlAttention(
        TransformerXlConfig(), width=_WIDTH, heads=_HEADS, dropout=0.0
    ).eval()
    torch.nn.init.normal_(attention.content_bias)
    torch.nn.init.normal_(attention.position_bias)
    x, valid = _masked_input(time)
    query, key, value = split_heads(attention.query_key_value(x), parts=3, heads=_HEADS)
    head_dim = _WIDTH // _HEADS
    index = torch.arange(time)
    distance = index.unsqueeze(1) - index  # i - j
    relative = attention.position(sinusoids(distance.flatten(), _WIDTH))
    relative = relative.view(time, time, _HEADS, head_dim)
    position_query = query + attention.position_bias.unsqueeze(1)
    bias = torch.einsum("bhid,ijhd->bhij", position_query, relative) / head_dim**0.5
    context = naive_attention(
        query + attention.content_bias.unsqueeze(1),
        key,
        value,
        allowed=valid[:, None, None, :],
        bias=bias,
    )
    expected = attention.output(join_heads(context)) * valid.unsqueeze(2)
    torch.testing.assert_close(attention(x, valid).output, expected, atol=1e-5, rtol=1e-5)


def test_transformer_xl_knows_direction() -> None:
    attention = TransformerXlAttention(
        TransformerXlConfig(), width=_WIDTH, heads=_HEADS, dropout=0.0
    ).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(attention.position_bias)
    x, _ = _masked_input(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    forward = attention(x, valid).output
    backward = attention(x.flip(1), valid).output.flip(1)
    assert (forward - backward).abs().max() > 1e-2
