"""Parts of the papers' equations for all pairs, in float64."""

import math

import torch
from torch import Tensor

from asr.model.attention import build_attentions
from asr.model.attention.base import join_heads, split_heads
from asr.model.attention.positions import alibi_slopes
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.encoders.base import parse_attention

WIDTH, HEADS, HEAD_DIM = 24, 4, 6


def build(kind: object, **settings: object) -> SoftmaxAttention:
    torch.manual_seed(0)
    config = parse_attention({"kind": kind, **settings})
    (attention,) = build_attentions(config, width=WIDTH, heads=HEADS, dropout=0.0, layers=1)
    assert isinstance(attention, SoftmaxAttention)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    attention.after_step()
    return attention.eval()


def masked_input(time: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, time, WIDTH, generator=torch.Generator().manual_seed(time))
    return x, torch.arange(time) < torch.tensor([[time], [max(1, time - 3)]])


def distances(time: int) -> Tensor:
    return torch.arange(time).unsqueeze(1) - torch.arange(time)


def projected_parts(attention: SoftmaxAttention, x: Tensor) -> tuple[Tensor, ...]:
    projected = attention.projection(x, x[:, :0])
    return tuple(part.double() for part in split_heads(projected, parts=3, heads=HEADS))


def finish(attention: SoftmaxAttention, context: Tensor, valid: Tensor) -> Tensor:
    output: Tensor = attention.output(join_heads(context).float())
    return output * valid.unsqueeze(2)


def softmax_output(
    attention: SoftmaxAttention, scores: Tensor, value: Tensor, allowed: Tensor, valid: Tensor
) -> Tensor:
    weights = scores.masked_fill(~(allowed & valid[:, None, None]), -math.inf).softmax(dim=3)
    # A padded frame may have no key at all.
    return finish(attention, weights.nan_to_num() @ value, valid)


def assert_close(output: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def alibi_bias(sides: str, distance: Tensor) -> Tensor:
    slopes = 2.0 ** -torch.tensor([2, 4, 6, 8], dtype=torch.float64).view(-1, 1, 1)
    if sides == "symmetric":
        return -slopes * distance.abs()
    if sides == "two_sided":
        return torch.where(distance > 0, -slopes * distance, 2 * slopes * distance)
    half = torch.tensor(alibi_slopes(HEADS // 2), dtype=torch.float64).view(-1, 1, 1)
    past = (-half * distance).masked_fill(distance < 0, -math.inf)
    future = (half * distance).masked_fill(distance > 0, -math.inf)
    return torch.cat([past, future])


def relative_scores(attention: SoftmaxAttention, query: Tensor, key: Tensor) -> Tensor:
    relative = attention.scores.relative
    assert relative is not None
    distance = distances(key.shape[2])
    rate = 10000.0 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
    angles = distance.unsqueeze(2) * rate
    table = torch.cat([angles.sin(), angles.cos()], dim=2) @ relative.projection.weight.double().T
    table = table.view(*distance.shape, HEADS, HEAD_DIM)
    content = (query + attention.scores.content_bias.double().unsqueeze(1)) @ key.transpose(2, 3)
    biased = query + relative.bias.double().unsqueeze(1)
    scores: Tensor = content + torch.einsum("bhid,ijhd->bhij", biased, table)
    scaled: Tensor = scores / HEAD_DIM**0.5
    return scaled
