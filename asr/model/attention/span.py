"""Learned attention spans."""

import math

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention.masks import FORBIDDEN
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpanConfig:
    """How far heads may learn to look."""

    max_frames: int = Field(default=1024, gt=0)
    """Longest span on either side, in encoder frames."""
    ramp_frames: int = Field(default=32, gt=0)
    """Frames over which the mask falls from one to zero beyond the span (R in the paper)."""
    initial_fraction: float = Field(default=0.0, ge=0, le=1)
    """Span at the start, as a fraction of the longest."""
    loss_weight: float = Field(default=2e-6, ge=0)
    """Loss for each frame of span, averaged over heads and summed over sides and layers."""
    rate_factor: float = Field(default=1.0, gt=0)
    """Learning rate of the spans as a multiple of the others'."""


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
        # Of the longest span; (side, head), the past first.
        self.fraction = nn.Parameter(torch.full((2, heads), config.initial_fraction))
        self._window = self._reach([config.initial_fraction] * 2)
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    @property
    def window_frames(self) -> tuple[int, int]:
        """Farthest frame with a weight, before and after, over all heads."""
        if not torch.compiler.is_exporting():
            self._window = self._measure()
        return self._window

    def _measure(self) -> tuple[int, int]:
        fraction = self.fraction.detach()
        # Where weights are shared among processes, each holds a part.
        whole = fraction.full_tensor() if hasattr(fraction, "full_tensor") else fraction
        return self._reach(whole.amax(dim=1).tolist())

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
        """Keep the spans between nothing and the longest."""
        self.fraction.clamp_(0, 1)
        self._window = self._measure()


def _after_loading(span: AdaptiveSpan, _: object) -> None:
    # No method: a copy of the module would call that of the original.
    span.after_step()
