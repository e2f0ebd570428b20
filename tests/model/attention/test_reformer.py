"""Hashed attention against dense attention with shared queries and keys."""

import pytest
import torch
from torch import Tensor, nn

from asr.model.attention import build_attentions, causal, chunked
from asr.model.attention.base import join_heads, split_heads
from asr.model.attention.reformer import ReformerAttention, RotationHash
from asr.model.encoders.base import parse_attention

_WIDTH, _HEADS = 32, 2


def _attention(**settings: object) -> ReformerAttention:
    torch.manual_seed(0)
    config = parse_attention({"kind": "reformer", **settings})
    (attention,) = build_attentions(config, width=_WIDTH, heads=_HEADS, dropout=0.0, layers=1)
    assert isinstance(attention, ReformerAttention)
    return attention.eval()


def _dense(attention: ReformerAttention, x: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over all allowed pairs but one's own, which counts where there is no other."""
    query, value = split_heads(attention.query_value(x).double(), parts=2, heads=_HEADS)
    key = nn.functional.normalize(query, dim=3)
    others = allowed & ~torch.eye(x.shape[1], dtype=torch.bool)
    others = others | (torch.eye(x.shape[1], dtype=torch.bool) & ~others.any(-1, keepdim=True))
    weights = (query @ key.transpose(2, 3)).masked_fill(~others, -torch.inf).softmax(dim=3)
    output: Tensor = attention.output(join_heads(weights @ value).float())
    return output


def _all_valid(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 15, 32])
def test_two_chunks_are_dense_attention(rounds: int, time: int) -> None:
    attention = _attention(bucket_frames=16, rounds=rounds)
    x = torch.randn(2, time, _WIDTH)
    expected = _dense(attention, x, torch.ones(time, time, dtype=torch.bool))
    output = attention(x, _all_valid(x)).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("left", [None, 4])
def test_two_chunks_in_causal_mode(left: int | None) -> None:
    attention = _attention(bucket_frames=16, rounds=2)
    # One bucket: sorted by time.
    attention.hash.rotations.zero_()
    x, frames = torch.randn(1, 32, _WIDTH), torch.arange(32)
    distance = frames.unsqueeze(1) - frames
    allowed = (distance >= 0) & (distance <= (32 if left is None else left))
    output = attention(x, _all_valid(x), mode=causal(left)).output
    torch.testing.assert_close(output, _dense(attention, x, allowed), atol=1e-5, rtol=1e-5)


def test_output_is_the_exact_softmax_over_all_frames_met_in_any_round() -> None:
    attention = _attention(bucket_frames=8, rounds=3)
    x = torch.randn(1, 90, _WIDTH)
    query, _ = split_heads(attention.query_value(x), parts=2, heads=_HEADS)
    _, chunk_of = attention._sort(query, _all_valid(x))
    near = (chunk_of.unsqueeze(4) - chunk_of.unsqueeze(3)).abs() <= 1
    expected = _dense(attention, x, near.any(dim=1))
    output = attention(x, _all_valid(x)).output
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_more_rounds_come_nearer_to_dense_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(32, _WIDTH, generator=generator)
    chosen = torch.randint(32, (512,), generator=generator)
    x = (centres[chosen] + 0.3 * torch.randn(512, _WIDTH, generator=generator)).unsqueeze(0)
    errors = []
    for rounds in (1, 2, 4, 8, 16):
        attention = _attention(bucket_frames=32, rounds=rounds)
        attention.query_value.weight.data.mul_(3)
        expected = _dense(attention, x, torch.ones(512, 512, dtype=torch.bool))
        output = attention(x, _all_valid(x)).output
        errors.append(float(((output - expected).norm() / expected.norm()).detach()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.4 * errors[0]


def test_buckets_do_not_depend_on_batch_mates_or_padding() -> None:
    hashing = RotationHash(rounds=2, heads=_HEADS, head_dim=16, layer=1)
    x = torch.randn(2, _HEADS, 50, 16)
    alone = hashing(x[:1, :, :30], torch.tensor([6]))
    together = hashing(x, torch.tensor([6, 200]))
    assert torch.equal(together[:1, :, :, :30], alone)
    assert alone.max() < 64 + 3
    assert together[1].max() >= 64


def test_similar_vectors_share_a_bucket() -> None:
    hashing = RotationHash(rounds=1, heads=1, head_dim=16, layer=1)
    x = torch.randn(1, 1, 100, 16)
    buckets = torch.tensor([16])
    near = hashing(x + 0.02 * torch.randn_like(x), buckets) == hashing(x, buckets)
    opposite = hashing(-x, buckets) == hashing(x, buckets)
    assert near.float().mean() > 0.9
    assert not opposite.any()


def test_layers_hash_differently() -> None:
    hashes = [RotationHash(rounds=1, heads=1, head_dim=8, layer=layer) for layer in (1, 2)]
    assert not torch.equal(hashes[0].rotations, hashes[1].rotations)


def test_state_and_chunks_are_refused() -> None:
    attention, x = _attention(), torch.randn(1, 5, _WIDTH)
    state = attention(x, _all_valid(x), mode=causal()).state
    with pytest.raises(ValueError, match="expected the whole input in one call"):
        attention(x, _all_valid(x), mode=causal(), state=state)
    with pytest.raises(ValueError, match="expected a mode among"):
        attention.check_mode(chunked(4))


@pytest.mark.parametrize("name", ["bucket_frames", "rounds"])
def test_value_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        parse_attention({"kind": "reformer", name: 0})
