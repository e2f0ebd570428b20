"""What is added to scores of content: terms of position, learned spans, forbidden pairs."""

import torch
from torch import Tensor, nn

from asr.model.attention.masks import penalty
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
        *,
        query_frames: Tensor,
        key_frames: Tensor,
        allowed: Tensor | None,
        heads: slice,
    ) -> Tensor:
        """Add to scores of content.

        Args:
            scores: (batch, head, block, time, column).
            query: (batch, head, block, time, head_dim), not scaled.
            query_frames: (time,) or (1,), where the queries of a block are.
            key_frames: (column,), where its keys are, counted from the same frame.
            allowed: (time, column) bool; None is everywhere.
            heads: Which heads they are.

        Returns:
            The shape of `scores`.
        """
        if self.relative is not None:
            scores += self.relative(query, query_frames, key_frames, heads=heads)
        bias = self.bias(query_frames.unsqueeze(1) - key_frames, allowed=allowed, heads=heads)
        return scores if bias is None else scores + bias.unsqueeze(1)

    def bias(self, distance: Tensor, *, allowed: Tensor | None, heads: slice) -> Tensor | None:
        """What does not depend on queries: (head or 1, time, column) float32; None is nothing."""
        terms = [term(distance, heads) for term in (self.alibi, self.span) if term is not None]
        if allowed is not None:
            terms.append(penalty(allowed).unsqueeze(0))
        return sum(terms[1:], start=terms[0]) if terms else None

    def reference(self, query: Tensor, distance: Tensor) -> Tensor:
        """The terms at distances i - j (time, key_time): (1 or batch, head, time, key_time)."""
        bias = self.bias(distance, allowed=None, heads=slice(None))
        total = torch.zeros(query.shape[1], *distance.shape) if bias is None else bias
        if self.relative is not None:
            total = total + self.relative.reference(query, distance)
        return total.view(-1, *total.shape[-3:])

    def losses(self) -> dict[str, Tensor]:
        """Auxiliary losses by name."""
        return {} if self.span is None else {"span": self.span.loss()}
