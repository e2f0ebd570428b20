"""Lightweight and dynamic convolution against their equations."""

import pytest
import torch
from torch import Tensor

from asr.model.attention import OFFLINE, Mode, causal, chunked
from asr.model.encoders import parse_encoder
from asr.model.encoders.lite_transformer import LiteTransformerConfig
from asr.model.long_short import (
    SHORT_RANGE,
    DynamicConvolution,
    LightweightConvolution,
    ShortRange,
)


def _expected(x: Tensor, weight: Tensor, mode: Mode) -> Tensor:
    """Loops over frames and taps; weight (batch, time, feature, kernel)."""
    time, kernel = x.shape[1], weight.shape[3]
    output = torch.zeros_like(x)
    for frame in range(time):
        end = time
        if mode.chunk_frames is not None:
            end = min(time, (frame // mode.chunk_frames + 1) * mode.chunk_frames)
        for tap in range(kernel):
            place = frame + tap - (kernel - 1 if mode.kind == "causal" else kernel // 2)
            if 0 <= place < end:
                output[:, frame] += weight[:, frame, :, tap] * x[:, place]
    return output


@pytest.mark.parametrize("mode", [OFFLINE, causal(), chunked(4)], ids=lambda mode: mode.kind)
@pytest.mark.parametrize("kernel", [1, 5])
def test_lightweight_convolution(mode: Mode, kernel: int) -> None:
    torch.manual_seed(0)
    module = LightweightConvolution(width=6, heads=2, kernel=kernel, dropout=0.0)
    x = torch.randn(2, 11, 6)
    weight = torch.softmax(module.weight, dim=1)[[0, 0, 0, 1, 1, 1]].expand(2, 11, -1, -1)
    output = module(x, mode=mode, state=None).output
    torch.testing.assert_close(output, _expected(x, weight, mode))


@pytest.mark.parametrize("mode", [OFFLINE, causal(), chunked(4)], ids=lambda mode: mode.kind)
def test_dynamic_convolution(mode: Mode) -> None:
    torch.manual_seed(0)
    module = DynamicConvolution(width=6, heads=3, kernel=5, dropout=0.0)
    x = torch.randn(2, 11, 6)
    weight = torch.softmax(module.predict(x).view(2, 11, 3, 5), dim=3).repeat_interleave(2, dim=2)
    output = module(x, mode=mode, state=None).output
    torch.testing.assert_close(output, _expected(x, weight, mode))


@pytest.mark.filterwarnings("ignore")  # Of the other implementation's own imports.
@pytest.mark.parametrize("kind", ["lightweight", "dynamic"])
def test_convolution_equals_transformers_convbert(kind: str) -> None:
    library = pytest.importorskip("transformers.models.convbert.modeling_convbert")
    config = library.ConvBertConfig(
        hidden_size=12, num_attention_heads=3, head_ratio=1, conv_kernel_size=5
    )
    # Its convolution acts on half of its features, by kernels made from a product of two maps.
    theirs = library.ConvBertSelfAttention(config).eval()
    ours = SHORT_RANGE[kind](width=6, heads=3, kernel=5, dropout=0.0)
    first_half = torch.eye(6, 12)
    with torch.no_grad():
        theirs.conv_out_layer.weight.copy_(first_half)
        theirs.conv_out_layer.bias.zero_()
        theirs.key_conv_attn_layer.depthwise.weight.zero_()[:, :, 2] = 1
        theirs.key_conv_attn_layer.pointwise.weight.copy_(first_half.unsqueeze(2))
        theirs.query.weight.zero_()
        theirs.query.bias.fill_(1)
        theirs.conv_kernel_layer.weight.zero_()
        theirs.conv_kernel_layer.bias.zero_()
        if isinstance(ours, LightweightConvolution):
            theirs.conv_kernel_layer.bias.copy_(ours.weight.flatten())
        else:
            theirs.conv_kernel_layer.weight.copy_(ours.predict.weight)
        x = torch.randn(2, 11, 12)
        expected = theirs(x)[0][:, :, 6:]
        output = ours(x[:, :, :6].contiguous(), mode=OFFLINE, state=None).output
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("kind", ["lightweight", "dynamic"])
@pytest.mark.parametrize("mode", [causal(), chunked(4)], ids=lambda mode: mode.kind)
def test_chunk_by_chunk_equals_one_pass(kind: str, mode: Mode) -> None:
    torch.manual_seed(0)
    module = ShortRange(kind, width=6, heads=2, kernel=7, dropout=0.0)  # type: ignore[arg-type]
    x, valid = torch.randn(2, 14, 6), torch.ones(2, 14, dtype=torch.bool)
    whole = module(x, valid, mode=mode).output
    state, outputs = None, []
    for start, end in ((0, 4), (4, 12), (12, 14)):
        result = module(x[:, start:end], valid[:, start:end], mode=mode, state=state)
        state = result.state
        outputs.append(result.output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole)


@pytest.mark.parametrize("kind", ["lightweight", "dynamic"])
def test_padding_stays_outside(kind: str) -> None:
    module = ShortRange(kind, width=8, heads=2, kernel=5, dropout=0.0)  # type: ignore[arg-type]
    torch.nn.init.ones_(module.gated.bias)
    x = torch.randn(1, 12, 8)
    padded = torch.cat([x, torch.full((1, 6, 8), 1e3)], dim=1)
    alone = module(x, torch.ones(1, 12, dtype=torch.bool), mode=OFFLINE).output
    together = module(padded, torch.arange(18).unsqueeze(0) < 12, mode=OFFLINE).output
    torch.testing.assert_close(together[:, :12], alone, atol=1e-5, rtol=1e-5)


def _section(**settings: object) -> dict[str, object]:
    return {
        "encoder": "lite_transformer",
        "width": 32,
        "layers": 6,
        "heads": 4,
        "dropout": 0.1,
        "subsampling": {"factor": 4, "channels": 8},
        "attention": {"kind": "full"},
        **settings,
    }


def test_last_kernel_serves_further_layers() -> None:
    config = parse_encoder(_section())
    assert isinstance(config, LiteTransformerConfig)
    assert config.kernels == (3, 7, 15, 31, 31, 31)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_frames": 4}, "expected odd kernels"),
        ({"kernel_frames": []}, "expected odd kernels"),
        ({"convolution_heads": 5}, "half the width to be a multiple"),
        ({"heads": 16}, "half the width to be a multiple"),
        ({"convolution": "dynamicc"}, "model.convolution"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_encoder(_section(**settings))
