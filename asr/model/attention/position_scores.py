"""What is added to scores of content: terms of position, learned spans, forbidden pairs."""

import torch
from torch import Tensor, nn

from asr.model.attention.geometry import Geometry
from asr.model.attention.positions import AlibiBias, RelativePositions
from asr.model.attention.softmax_config import SoftmaxConfig
from asr.model.attention.span import AdaptiveSpan


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
        geometry: Geometry,
        *,
        heads: slice,
    ) -> Tensor:
        """Add to scores of content.

        Args:
            scores: (batch, head, block, time, column).
            query: (batch, head, block, time, head_dim), not scaled.
            geometry: Where the queries and keys of a block are.
            heads: Which heads they are.

        Returns:
            The shape of `scores`.
        """
        if self.relative is not None:
            scores += self.relative(query, geometry, heads=heads)
        biases = self._all_biases(geometry, heads)
        if biases:
            # In float32, whatever the product's type: biases of far frames differ by little.
            scores = scores.float()
        for bias in biases:
            scores += bias
        return scores

    def bias(self, query: Tensor, geometry: Geometry, *, heads: slice) -> Tensor | None:
        """What `forward` adds: (batch or 1, head, block, time, column); None is nothing."""
        terms = [bias.unsqueeze(0) for bias in self._all_biases(geometry, heads)]
        if self.relative is not None:
            terms.append(self.relative(query, geometry, heads=heads))
        return sum(terms[1:], start=terms[0]) if terms else None

    def _all_biases(self, geometry: Geometry, heads: slice) -> list[Tensor]:
        """What does not depend on queries: (head or 1, 1, time, column) float32."""
        biases = self._own_biases(geometry, heads)
        if geometry.penalty is not None:
            biases.append(geometry.penalty)
        return [bias.unsqueeze(1) for bias in biases]

    @property
    def _has_biases(self) -> bool:
        return self.alibi is not None or self.span is not None

    def _own_biases(self, geometry: Geometry, heads: slice) -> list[Tensor]:
        """ALiBi and learned spans of a block: (head, time, column) float32."""
        if torch.compiler.is_exporting():
            # An exported window would hold for one length alone.
            return self._biases(geometry.distance, heads)
        columns = geometry.key_frames.shape[0]
        biases = self._biases(geometry.distances, heads) if self._has_biases else []
        # (head, distance)
        return [bias.unfold(1, columns, 1).flip(1) for bias in biases]

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
