"""What scores know of positions: ALiBi's bias and Transformer-XL's relative term."""

from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.attention.geometry import Geometry
from asr.model.attention.masks import FORBIDDEN
from asr.model.positions import sinusoids


def alibi_slopes(heads: int) -> list[float]:
    """Slopes of ALiBi: a geometric series, filled up from the next one's odd places.

    Source: Press et al. 2022, section 3 and the code's rule for a number that is no power of two.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * number / power) for number in range(1, power + 1)]
    between = [2.0 ** (-4 * number / power) for number in range(1, 2 * power + 1, 2)]
    return slopes + between[: heads - power]


class AlibiBias(nn.Module):
    """A penalty that grows with the distance, in float32.

    Sides: symmetric has one slope a head; split lets half of the heads see the past alone and half
    the future; two_sided takes the slopes of twice as many heads and gives each head a neighbouring
    pair of them, the steeper one for the future, so that direction is known.

    Source: Press et al. 2022, section 3; the bidirectional forms are its authors' proposals.
    """

    slopes: Tensor

    def __init__(self, *, heads: int, sides: Literal["symmetric", "split", "two_sided"]) -> None:
        super().__init__()
        if sides == "split" and heads % 2:
            raise ValueError(
                f'expected an even number of heads with alibi_sides = "split", found {heads}; '
                "change one"
            )
        if sides == "split":
            half, blind = alibi_slopes(heads // 2), [-FORBIDDEN] * (heads // 2)
            past, future = half + blind, blind + half
        elif sides == "two_sided":
            both = alibi_slopes(2 * heads)
            past, future = both[1::2], both[::2]
        else:
            past = future = alibi_slopes(heads)
        self.register_buffer("slopes", torch.tensor([past, future]), persistent=False)

    def forward(self, distance: Tensor, heads: slice) -> Tensor:
        """Bias of some heads, (head, *distance), at distances i - j from query to key."""
        past, future = self.slopes[:, heads].view(2, -1, *[1] * distance.dim()).unbind(0)
        return -past * distance.clamp(min=0) - future * (-distance).clamp(min=0)


class RelativePositions(nn.Module):
    """Score of the signed distance: a query's product with a projection of the distance's sinusoid.

    Scores of all distances that a block has are one product. Each row begins one place before the
    row above it, which takes no shift, only a view with that stride.

    Source: Dai et al. 2019, section 3.3 and appendix B; every layer has its own v, as in Gulati et
    al. 2020.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(heads, width // heads))

    def forward(self, query: Tensor, geometry: Geometry, *, heads: slice) -> Tensor:
        """Scores of positions.

        Args:
            query: (batch, head, block, time, head_dim).
            geometry: Where the queries and keys of a block are.
            heads: Which heads the queries belong to.

        Returns:
            (batch, head, block, time, key_time), scaled.
        """
        width, head_dim = self.projection.in_features, query.shape[-1]
        weight = self.projection.weight.view(-1, head_dim, width)[heads].to(query.dtype)
        # (head, head_dim, width)
        relative = weight @ geometry.sinusoids(width, query.dtype).T
        # (head, head_dim, distance)
        scaled = (query + self.bias[heads, None, None].to(query.dtype)) * head_dim**-0.5
        scores: Tensor = scaled @ relative.unsqueeze(1)
        if geometry.query_frames.shape[0] == 1:
            return scores
        return _own_distances(scores, columns=geometry.key_frames.shape[0])

    def reference(self, query: Tensor, distance: Tensor) -> Tensor:
        """The same by looking up each distance i - j (time, key_time), as the equation reads."""
        heads, head_dim = self.bias.shape
        relative = self.projection(sinusoids(distance, self.projection.in_features))
        relative = relative.view(*distance.shape, heads, head_dim)
        # (time, key_time, head, head_dim)
        biased = query + self.bias.unsqueeze(1)
        scores: Tensor = torch.einsum("bhid,ijhd->bhij", biased, relative) * head_dim**-0.5
        return scores


def _own_distances(scores: Tensor, *, columns: int) -> Tensor:
    """Of scores (..., time, distance) the columns of each row: row i begins at time - 1 - i."""
    rows = scores.shape[-2]
    if torch.compiler.is_exporting():
        # An exported view with strides would hold for one length alone.
        row = torch.arange(rows, device=scores.device).unsqueeze(1)
        places = rows - 1 - row + torch.arange(columns, device=scores.device)
        return scores.gather(-1, places.expand(*scores.shape[:-2], rows, columns))
    *outer, row_stride, stride = scores.stride()
    return scores.as_strided(
        (*scores.shape[:-1], columns), (*outer, row_stride - stride, stride), (rows - 1) * stride
    )
