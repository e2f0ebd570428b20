"""Linformer against softmax attention and against its equation."""

import copy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asr.model.attention import Attention, build_attentions
from asr.model.attention.base import join_heads, split_heads
from asr.model.attention.linformer import LinformerAttention
from asr.model.encoders.base import parse_attention

_WIDTH, _HEADS = 24, 4


def _layers(count: int, **settings: object) -> list[Attention]:
    torch.manual_seed(0)
    config = parse_attention({"kind": "linformer", "max_length": 50, "slots": 7, **settings})
    return build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=count)


def _attention(**settings: object) -> LinformerAttention:
    (attention,) = _layers(1, **settings)
    assert isinstance(attention, LinformerAttention)
    return attention.eval()


def _masked_input(time: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, time, _WIDTH, generator=torch.Generator().manual_seed(time))
    return x, torch.arange(time) < torch.tensor([[time], [max(1, time - 3)]])


def test_identity_projection_is_softmax_attention() -> None:
    attention = _attention(slots=20)
    attention.slot_weights.data[0] = torch.eye(50, 20)
    x = torch.randn(2, 20, _WIDTH)
    query, key, value = split_heads(attention.query_key_value(x), parts=3, heads=_HEADS)
    context = nn.functional.scaled_dot_product_attention(query, key, value)
    output = attention(x, torch.ones(2, 20, dtype=torch.bool)).output
    torch.testing.assert_close(output, attention.output(join_heads(context)), atol=3e-6, rtol=1e-5)


@pytest.mark.parametrize("sharing", ["headwise", "key_value", "layerwise"])
def test_equation_with_padding_zeroed_after_the_bias(sharing: str) -> None:
    attention = _attention(sharing=sharing)
    x, valid = _masked_input(30)
    expected = torch.zeros_like(x)
    for item, length in enumerate((30, 27)):
        parts = split_heads(attention.query_key_value(x[item, :length])[None], parts=3, heads=4)
        query, key, value = (part[0].double() for part in parts)
        weights = attention.slot_weights[:, :length].double()
        scores = query @ (weights[0].T @ key).transpose(1, 2) / 6**0.5
        context = scores.softmax(dim=2) @ (weights[-1].T @ value)
        expected[item, :length] = attention.output(join_heads(context[None]).float())[0]
    torch.testing.assert_close(attention(x, valid).output, expected, atol=1e-5, rtol=1e-5)
    assert len(attention.slot_weights) == (2 if sharing == "headwise" else 1)


def test_longer_input_is_refused() -> None:
    x, valid = _masked_input(51)
    with pytest.raises(ValueError, match=r"at most 50 encoder frames, found 51; set model\.att"):
        _attention()(x, valid)


def test_padding_beyond_the_limit_is_no_frame() -> None:
    x, valid = _masked_input(60)
    valid[:, 48:] = False
    attention = _attention()
    short = attention(x[:, :50], valid[:, :50]).output
    torch.testing.assert_close(attention(x, valid).output[:, :50], short)


def test_layers_share_one_projection_that_is_saved_once(tmp_path: Path) -> None:
    layers, others = (nn.ModuleList(_layers(3, sharing="layerwise")) for _ in range(2))
    state = layers.state_dict()
    assert [name for name in state if name.endswith("slot_weights")] == ["0.slot_weights"]
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    for parameter in others.parameters():
        nn.init.zeros_(parameter)
    others.load_state_dict(safetensors.torch.load_file(tmp_path / "weights.safetensors"))
    x, valid = _masked_input(11)
    for one, other in zip(layers, copy.deepcopy(others), strict=True):
        assert torch.equal(one(x, valid).output, other(x, valid).output)
    size = 50 * 7
    assert sum(p.numel() for p in copy.deepcopy(layers).parameters() if p.numel() == size) == size


def test_layers_that_do_not_share_have_their_own() -> None:
    layers = nn.ModuleList(_layers(3))
    assert len([name for name in layers.state_dict() if name.endswith("slot_weights")]) == 3


def test_operations_grow_linearly() -> None:
    attention = _attention(max_length=4096, slots=64)
    counts = []
    for time in (1024, 2048, 4096):
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            attention(torch.randn(1, time, _WIDTH), torch.ones(1, time, dtype=torch.bool))
        counts.append(counter.get_total_flops())
    assert counts[1] / counts[0] == pytest.approx(2, abs=0.02)
    assert counts[2] / counts[1] == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(("name", "value"), [("max_length", 0), ("slots", 0), ("sharing", "all")])
def test_value_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        parse_attention({"kind": "linformer", name: value})


def test_a_fresh_slot_has_the_variance_of_a_frame() -> None:
    torch.manual_seed(0)
    config = parse_attention({"kind": "linformer"})
    [attention] = build_attentions(config, width=16, heads=2, dropout=0.0, layers=1)
    assert isinstance(attention, LinformerAttention)
    slots = attention.slot_weights[0, :400].T @ torch.randn(400, 50)
    torch.testing.assert_close(slots.var(), torch.tensor(1.0), atol=0.1, rtol=0)
