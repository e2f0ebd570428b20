"""Mechanisms against independent implementations, with weights moved over."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr.model.attention import OFFLINE, Attention, build_attentions
from asr.model.attention.keys import GlobalFrames
from asr.model.attention.linformer import LinformerAttention
from asr.model.attention.performer import PerformerAttention
from asr.model.attention.positions import AlibiBias
from asr.model.attention.reformer import ReformerAttention
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.branches import FrameContext
from asr.model.encoders import parse_encoder
from asr.model.encoders.base import parse_attention
from asr.model.encoders.conformer import ConformerEncoder

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the other implementations' own imports.

_WIDTH, _HEADS, _HEAD_DIM = 24, 4, 6


def _build(**section: object) -> Attention:
    torch.manual_seed(0)
    config = parse_attention(section)
    (attention,) = build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=1)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    return attention.eval()


def _copy(linear: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    linear.weight.data.copy_(weight)
    if bias is None:
        linear.bias.data.zero_()
    else:
        linear.bias.data.copy_(bias)


def _stacked(*linears: nn.Linear) -> tuple[Tensor, Tensor]:
    return (
        torch.cat([linear.weight for linear in linears]),
        torch.cat([linear.bias for linear in linears]),
    )


@pytest.mark.parametrize("heads", [4, 6, 8, 12])
def test_alibi_equals_x_transformers(heads: int) -> None:
    theirs = pytest.importorskip("x_transformers.x_transformers").AlibiPositionalBias(heads)
    ours = AlibiBias(heads=heads, sides="symmetric")
    distance = torch.arange(9).unsqueeze(1) - torch.arange(9)
    torch.testing.assert_close(ours(distance, slice(None)), theirs(9, 9))


def test_all_attention_equals_x_transformers() -> None:
    library = pytest.importorskip("x_transformers.x_transformers")
    theirs = library.Attention(_WIDTH, dim_head=_HEAD_DIM, heads=_HEADS, num_mem_kv=7).eval()
    ours = _build(kind="all_attention", positions="none", persistent_vectors=7)
    assert isinstance(ours, SoftmaxAttention)
    assert ours.persistent is not None
    weights = torch.cat([theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight])
    _copy(ours.projection, weights)  # type: ignore[arg-type]
    _copy(ours.output, theirs.to_out.weight)
    nn.init.normal_(theirs.mem_k)
    nn.init.normal_(theirs.mem_v)
    ours.persistent.key.data.copy_(theirs.mem_k / _HEAD_DIM**0.5)
    ours.persistent.value.data.copy_(theirs.mem_v / 7**0.5)
    x = torch.randn(2, 13, _WIDTH)
    expected = theirs(x)
    expected = expected[0] if isinstance(expected, tuple) else expected
    output = ours(x, torch.ones(2, 13, dtype=torch.bool)).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_longformer_equals_transformers_with_padding_and_global_frames() -> None:
    library = pytest.importorskip("transformers.models.longformer.modeling_longformer")
    config = library.LongformerConfig(
        hidden_size=_WIDTH,
        num_attention_heads=_HEADS,
        attention_window=[8],
        attention_probs_dropout_prob=0.0,
    )
    theirs = library.LongformerSelfAttention(config, layer_id=0).eval()
    ours = _build(kind="longformer", window_frames=4, global_frames=2, positions="none")
    assert isinstance(ours, SoftmaxAttention)
    assert isinstance(ours.global_frames, GlobalFrames)
    _copy(ours.projection, *_stacked(theirs.query, theirs.key, theirs.value))  # type: ignore[arg-type]
    own = (theirs.query_global, theirs.key_global, theirs.value_global)
    _copy(ours.global_frames.query_key_value, *_stacked(*own))
    _copy(ours.output, torch.eye(_WIDTH))
    x = torch.randn(1, 48, _WIDTH)
    valid = torch.arange(48).unsqueeze(0) < 40
    mask = torch.where(valid, 0.0, -10000.0)
    mask[0, [0, 20]] = 10000.0
    expected = theirs(
        x,
        attention_mask=mask,
        is_index_masked=mask < 0,
        is_index_global_attn=mask > 0,
        is_global_attn=True,
    )[0]
    output = ours(x, valid).output
    torch.testing.assert_close(output[:, :40], expected[:, :40], atol=2e-6, rtol=1e-5)


def test_reformer_equals_reformer_pytorch_where_two_chunks_hold_all() -> None:
    library = pytest.importorskip("reformer_pytorch.reformer_pytorch")
    theirs = library.LSHAttention(bucket_size=16, n_hashes=1).eval()
    ours = _build(kind="reformer", bucket_frames=16, rounds=1)
    assert isinstance(ours, ReformerAttention)
    _copy(ours.output, torch.eye(_WIDTH))
    x = torch.randn(2, 32, _WIDTH)
    query, value = ours.query_value(x).view(2, 32, 2, _HEADS, _HEAD_DIM).unbind(2)

    def folded(part: Tensor) -> Tensor:
        return part.transpose(1, 2).flatten(0, 1)

    # Their scores have a further 1 / sqrt(head_dim).
    context = theirs(folded(query) * _HEAD_DIM**0.5, folded(value))[0]
    expected = context.view(2, _HEADS, 32, _HEAD_DIM).transpose(1, 2).flatten(2)
    output = ours(x, torch.ones(2, 32, dtype=torch.bool)).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "tolerance"), [("relu", 1e-5), ("softmax", 2e-3)])
def test_performer_equals_performer_pytorch(kernel: str, tolerance: float) -> None:
    library = pytest.importorskip("performer_pytorch.performer_pytorch")
    theirs = library.FastAttention(
        _HEAD_DIM, nb_features=32, generalized_attention=kernel == "relu"
    ).eval()
    ours = _build(kind="performer", features=32, kernel=kernel, similarity="dot")
    assert isinstance(ours, PerformerAttention)
    ours.projection.copy_(theirs.projection_matrix)
    _copy(ours.output, torch.eye(_WIDTH))
    x = 0.1 * torch.randn(2, 20, _WIDTH)
    parts = ours.query_key_value(x).view(2, 20, 3, _HEADS, _HEAD_DIM).permute(2, 0, 3, 1, 4)
    expected = theirs(*parts).transpose(1, 2).flatten(2)
    output = ours(x, torch.ones(2, 20, dtype=torch.bool)).output
    # Theirs adds 1e-4 to the softmax's features.
    torch.testing.assert_close(output, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shared", [False, True])
def test_linformer_equals_linformer(shared: bool) -> None:
    library = pytest.importorskip("linformer")
    theirs = library.LinformerSelfAttention(_WIDTH, seq_len=40, k=9, heads=_HEADS)
    ours = _build(
        kind="linformer",
        max_length=40,
        slots=9,
        sharing="key_value" if shared else "headwise",
    )
    assert isinstance(ours, LinformerAttention)
    if shared:
        theirs.proj_v = theirs.proj_k
    weights = torch.cat([theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight])
    _copy(ours.query_key_value, weights)
    _copy(ours.output, theirs.to_out.weight, theirs.to_out.bias)
    pair = [theirs.proj_k] if shared else [theirs.proj_k, theirs.proj_v]
    ours.slot_weights.data.copy_(torch.stack(pair))
    x = torch.randn(2, 30, _WIDTH)
    output = ours(x, torch.ones(2, 30, dtype=torch.bool)).output
    torch.testing.assert_close(output, theirs(x), atol=1e-5, rtol=1e-5)


def _their_conformer() -> tuple[Any, nn.Module]:
    library = pytest.importorskip(
        "transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer"
    )
    config = library.Wav2Vec2ConformerConfig(
        hidden_size=_WIDTH,
        num_attention_heads=_HEADS,
        intermediate_size=4 * _WIDTH,
        conv_depthwise_kernel_size=7,
        position_embeddings_type="relative",
        hidden_act="swish",
        attn_implementation="eager",
    )
    torch.manual_seed(1)
    block = library.Wav2Vec2ConformerEncoderLayer(config).eval()
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        if "running_var" in name:
            nn.init.uniform_(tensor, 0.5, 2.0)
        elif tensor.is_floating_point():
            nn.init.normal_(tensor, std=0.3)
    return block, library.Wav2Vec2ConformerRelPositionalEmbedding(config)


def _move_attention(ours: SoftmaxAttention, theirs: Any) -> None:  # noqa: ANN401
    _copy(ours.projection, *_stacked(theirs.linear_q, theirs.linear_k, theirs.linear_v))  # type: ignore[arg-type]
    _copy(ours.output, theirs.linear_out.weight, theirs.linear_out.bias)
    relative = ours.scores.relative
    assert relative is not None
    # Their table interleaves sines and cosines; ours has all sines first.
    weight = theirs.linear_pos.weight
    relative.projection.weight.data.copy_(torch.cat([weight[:, 0::2], weight[:, 1::2]], dim=1))
    relative.bias.data.copy_(theirs.pos_bias_v)
    ours.scores.content_bias.data.copy_(theirs.pos_bias_u)


def test_relative_positions_and_conformer_block_equal_transformers() -> None:
    theirs, positions = _their_conformer()
    section = {
        "encoder": "conformer",
        "width": _WIDTH,
        "layers": 1,
        "heads": _HEADS,
        "kernel_frames": 7,
        "dropout": 0.0,
        "subsampling": {"factor": 4, "channels": 4},
        "attention": {"kind": "transformer_xl"},
    }
    encoder = ConformerEncoder(parse_encoder(section), feature_size=20).eval()  # type: ignore[arg-type]
    block: Any = encoder.stack.blocks[0]
    first, attention, convolution, second = block.branches
    x = torch.randn(2, 17, _WIDTH)
    table = positions(x)
    valid = torch.ones(2, 17, dtype=torch.bool)
    _move_attention(attention.attention, theirs.self_attn)
    expected = theirs.self_attn(x, relative_position_embeddings=table)[0]
    output = attention.attention(x, valid).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)

    for branch, norm, module in (
        (first, theirs.ffn1_layer_norm, theirs.ffn1),
        (second, theirs.ffn2_layer_norm, theirs.ffn2),
    ):
        ours = branch.feed_forward
        ours.norm.load_state_dict(norm.state_dict())
        ours.expand.load_state_dict(module.intermediate_dense.state_dict())
        ours.project.load_state_dict(module.output_dense.state_dict())
    attention.norm.load_state_dict(theirs.self_attn_layer_norm.state_dict())
    module, ours = theirs.conv_module, convolution.convolution
    ours.input_norm.load_state_dict(module.layer_norm.state_dict())
    _copy(ours.gated, module.pointwise_conv1.weight.squeeze(2))
    _copy(ours.pointwise, module.pointwise_conv2.weight.squeeze(2))
    ours.depthwise.weight.data.copy_(module.depthwise_conv.weight.squeeze(1))
    ours.depthwise.bias.data.zero_()
    ours.norm.weight.data.copy_(module.batch_norm.weight)
    ours.norm.bias.data.copy_(module.batch_norm.bias)
    ours.norm.running_mean.copy_(module.batch_norm.running_mean)
    ours.norm.running_variance.copy_(module.batch_norm.running_var)
    block.output_norm.load_state_dict(theirs.final_layer_norm.state_dict())
    around = FrameContext(valid_mask=valid, mode=OFFLINE)
    torch.testing.assert_close(
        encoder.stack(x, around, None).output,
        theirs(x, relative_position_embeddings=table),
        atol=1e-5,
        rtol=1e-5,
    )
