"""What scores know of positions: ALiBi, Transformer-XL's relative term and learned spans."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from asr.model.attention.masks import FORBIDDEN
from asr.model.attention.softmax_config import SoftmaxConfig, SpanConfig
from asr.model.attention.windows import QueryKeyPairs
from asr.model.sinusoids import sinusoids


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

    def forward(self, query: Tensor, pairs: QueryKeyPairs, *, heads: slice) -> Tensor:
        """Scores of positions.

        Args:
            query: (batch, head, block, time, head_dim).
            pairs: Where the queries and keys of a block are.
            heads: Which heads the queries belong to.

        Returns:
            (batch, head, block, time, key_time), scaled.
        """
        width, head_dim = self.projection.in_features, query.shape[-1]
        weight = self.projection.weight.view(-1, head_dim, width)[heads].to(query.dtype)
        # (head, head_dim, width)
        relative = weight @ pairs.sinusoids(width, query.dtype).T
        # (head, head_dim, distance)
        scaled = (query + self.bias[heads, None, None].to(query.dtype)) * head_dim**-0.5
        scores: Tensor = scaled @ relative.unsqueeze(1)
        if pairs.query_frames.shape[0] == 1:
            return scores
        return _own_distances(scores, keys=pairs.key_frames.shape[0])

    def reference(self, query: Tensor, distance: Tensor) -> Tensor:
        """The same by looking up each distance i - j (time, key_time), as the equation reads."""
        heads, head_dim = self.bias.shape
        relative = self.projection(sinusoids(distance, self.projection.in_features))
        relative = relative.view(*distance.shape, heads, head_dim)
        # (time, key_time, head, head_dim)
        biased = query + self.bias.unsqueeze(1)
        scores: Tensor = torch.einsum("bhid,ijhd->bhij", biased, relative) * head_dim**-0.5
        return scores


def _own_distances(scores: Tensor, *, keys: int) -> Tensor:
    """Of scores (..., time, distance) the keys of each query: row i begins at time - 1 - i."""
    rows = scores.shape[-2]
    if torch.compiler.is_exporting():
        # An exported view with strides would hold for one length alone.
        row = torch.arange(rows, device=scores.device).unsqueeze(1)
        places = rows - 1 - row + torch.arange(keys, device=scores.device)
        return scores.gather(-1, places.expand(*scores.shape[:-2], rows, keys))
    *outer, row_stride, stride = scores.stride()
    return scores.as_strided(
        (*scores.shape[:-1], keys), (*outer, row_stride - stride, stride), (rows - 1) * stride
    )


class AdaptiveSpan(nn.Module):
    """A soft mask of learned width for each head and side: min(max((R + z - x) / R, 0), 1).

    Its logarithm is added to the scores, which is the same as multiplying the weights and
    normalising them again, without losing the digits of heads that keep little of the mass.

    Source: Sukhbaatar et al. 2019 (Adaptive Attention Span), equations 3 to 5; a span for each side
    is this project's.
    """

    def __init__(self, config: SpanConfig, *, heads: int) -> None:
        super().__init__()
        self.config = config
        # Of the longest span; (side, head), the past first. Who changes it calls `measure`.
        self.fraction = nn.Parameter(torch.full((2, heads), config.initial_fraction))
        self._window = self._reach([config.initial_fraction] * 2)
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    @property
    def window_frames(self) -> tuple[int, int]:
        """Farthest frame with a weight, before and after, over all heads.

        It is measured after each optimizer step and after loading, not here: reading it from the
        device in every forward pass would wait for all that is queued there.
        """
        return self._window

    def measure(self) -> None:
        """Find the window that the spans need; call it after they have changed."""
        fraction = self.fraction.detach()
        # Where weights are shared among processes, each holds a part.
        whole = fraction.full_tensor() if hasattr(fraction, "full_tensor") else fraction
        self._window = self._reach(whole.amax(dim=1).tolist())

    def _reach(self, fractions: list[float]) -> tuple[int, int]:
        """Farthest frames with a weight when these are the longest spans on both sides."""
        longest, ramp = self.config.max_frames, self.config.ramp_frames
        before, after = (math.ceil(fraction * longest) + ramp - 1 for fraction in fractions)
        return before, after

    def forward(self, distance: Tensor, heads: slice) -> Tensor:
        """Logarithm of the mask of some heads, (head, *distance), at distances i - j."""
        spans = self.fraction[:, heads] * self.config.max_frames
        past, future = spans.view(2, -1, *[1] * distance.dim()).unbind(0)
        span = torch.where(distance >= 0, past, future)
        ramp = 1 + (span - distance.abs()) / self.config.ramp_frames
        inside = ramp > 0
        return torch.where(inside, torch.where(inside, ramp, 1.0).clamp(max=1).log(), FORBIDDEN)

    def loss(self) -> Tensor:
        """Penalty on the mean span, a scalar."""
        return self.config.loss_weight * self.config.max_frames * self.fraction.mean(dim=1).sum()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the spans between nothing and the longest, and measure the window that they need."""
        self.fraction.clamp_(0, 1)
        self.measure()


def _after_loading(span: AdaptiveSpan, _: object) -> None:
    # No method: a copy of the module would call that of the original.
    span.after_step()


class PositionScores(nn.Module):
    """The terms that a config asks for."""

    def __init__(self, config: SoftmaxConfig, *, width: int, heads: int) -> None:
        super().__init__()
        self.alibi = self.relative = self.span = None
        if config.positions == "alibi":
            self.alibi = AlibiBias(heads=heads, sides=config.alibi_sides)
        if config.positions == "relative":
            self.relative = RelativePositions(width=width, heads=heads)
            self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))
        if config.span is not None:
            self.span = AdaptiveSpan(config.span, heads=heads)

    def with_content_bias(self, query: Tensor) -> Tensor:
        """Queries of all heads plus u, where positions are relative."""
        if self.relative is not None:
            query = query + self.content_bias.unsqueeze(1)
        return query

    def content_query(self, query: Tensor, heads: slice) -> Tensor:
        """Scaled queries (batch, head, block, time, head_dim), with u if positions are relative."""
        if self.relative is not None:
            query = query + self.content_bias[heads, None, None].to(query.dtype)
        scaled: Tensor = query * query.shape[-1] ** -0.5
        return scaled

    def forward(
        self,
        scores: Tensor,
        query: Tensor,
        pairs: QueryKeyPairs,
        *,
        heads: slice,
    ) -> Tensor:
        """Add to scores of content.

        Args:
            scores: (batch, head, block, time, key).
            query: (batch, head, block, time, head_dim), not scaled.
            pairs: Where the queries and keys of a block are.
            heads: Which heads they are.

        Returns:
            The shape of `scores`.
        """
        if self.relative is not None:
            scores += self.relative(query, pairs, heads=heads)
        biases = self._all_biases(pairs, heads)
        if biases:
            # In float32, whatever the product's type: biases of far frames differ by little.
            scores = scores.float()
        for bias in biases:
            scores += bias
        return scores

    def bias(self, query: Tensor, pairs: QueryKeyPairs, *, heads: slice) -> Tensor | None:
        """What `forward` adds: (batch or 1, head, block, time, key); None is nothing."""
        terms = [bias.unsqueeze(0) for bias in self._all_biases(pairs, heads)]
        if self.relative is not None:
            terms.append(self.relative(query, pairs, heads=heads))
        return sum(terms[1:], start=terms[0]) if terms else None

    def _all_biases(self, pairs: QueryKeyPairs, heads: slice) -> list[Tensor]:
        """What does not depend on queries: (head or 1, 1, time, key) float32."""
        biases = self._own_biases(pairs, heads)
        if pairs.penalty is not None:
            biases.append(pairs.penalty)
        return [bias.unsqueeze(1) for bias in biases]

    @property
    def _has_biases(self) -> bool:
        return self.alibi is not None or self.span is not None

    def _own_biases(self, pairs: QueryKeyPairs, heads: slice) -> list[Tensor]:
        """ALiBi and learned spans of a block: (head, time, key) float32."""
        if torch.compiler.is_exporting():
            # An exported window would hold for one length alone.
            return self._biases(pairs.distance, heads)
        keys = pairs.key_frames.shape[0]
        biases = self._biases(pairs.distances, heads) if self._has_biases else []
        # (head, distance)
        return [bias.unfold(1, keys, 1).flip(1) for bias in biases]

    def _biases(self, distance: Tensor, heads: slice) -> list[Tensor]:
        """ALiBi and learned spans, as far as there are any: (head, *distance) float32."""
        return [term(distance, heads) for term in (self.alibi, self.span) if term is not None]

    def reference(self, query: Tensor, distance: Tensor) -> Tensor:
        """The terms at distances i - j (time, key_time): (1 or batch, head, time, key_time)."""
        biases = self._biases(distance, slice(None))
        total = sum(biases, start=torch.zeros(query.shape[1], *distance.shape))
        if self.relative is not None:
            total = total + self.relative.reference(query, distance)
        return total.view(-1, *total.shape[-3:])

    def losses(self) -> dict[str, Tensor]:
        """Auxiliary losses by name."""
        return {} if self.span is None else {"span": self.span.loss()}
