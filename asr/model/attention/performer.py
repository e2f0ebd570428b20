"""FAVOR+: softmax attention in linear time by positive random features."""

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention.base import (
    OFFLINE,
    Attention,
    AttentionConfig,
    AttentionOutput,
    AttentionState,
    Capabilities,
    Mode,
    join_heads,
    split_heads,
)
from asr.schema import STRICT

_SEED = 40961
_CAUSAL_BLOCK_FRAMES = 64
_FIRST_SHARPNESS = 2.0
_RELU_OFFSET = 1e-3
_SMALLEST = 1e-30


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PerformerConfig(AttentionConfig):
    """Random features instead of pairs of frames.

    Source: Choromanski et al. 2021 (Rethinking Attention with Performers).
    """

    kind: Literal["performer"] = "performer"
    """The word of this mechanism."""
    features: int = Field(default=256, gt=0)
    """Random features of each head (m)."""
    kernel: Literal["softmax", "relu"] = "softmax"
    """What features estimate: the softmax's exponential, or a ReLU kernel of their own."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """What the exponential is of: a learned sharpness times the cosine of query and key, or their
    scaled dot product. The estimate's error grows exponentially with the norms, which the cosine
    bounds and a dot product does not."""
    redraw_steps: int | None = Field(default=1000, gt=0)
    """Optimizer steps after which features are drawn anew; None: never."""


class PerformerState(NamedTuple):
    """Sums over all keys so far, relative to the largest exponent so far.

    Args:
        sums: (batch, head, feature, head_dim + 1) float32; the last column counts.
        largest: (batch, head, 1, 1) float32.
    """

    sums: Tensor
    largest: Tensor

    def select(self, index: Tensor) -> "PerformerState":
        """The state of some items."""
        return PerformerState(self.sums.index_select(0, index), self.largest.index_select(0, index))


def orthogonal_features(features: int, head_dim: int, generator: torch.Generator) -> Tensor:
    """Gaussian directions that are orthogonal in blocks: (feature, head_dim) float32.

    Norms are drawn anew from the chi distribution of `head_dim` degrees, as those of independent
    Gaussian rows.

    Source: Choromanski et al. 2021, section 2.4.
    """
    blocks = -(-features // head_dim)
    shape = (blocks, head_dim, head_dim)
    drawn = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64)
    factors = torch.linalg.qr(drawn)
    # Uniform over all rotations only with the signs that make the triangle's diagonal positive.
    signs = factors.R.diagonal(dim1=1, dim2=2).sign()
    directions = (factors.Q * signs.unsqueeze(1)).transpose(1, 2).flatten(0, 1)[:features]
    rows = torch.randn((features, head_dim), generator=generator, device="cpu", dtype=torch.float64)
    scaled: Tensor = directions * rows.norm(dim=1, keepdim=True)
    return scaled.float()


class PerformerAttention(Attention):
    """Attention whose weights are products of positive random features.

    exp(q . k) is the mean over Gaussian w of exp(w . q - |q|^2 / 2) exp(w . k - |k|^2 / 2), so that
    sums over keys are made once for all queries. Features are drawn from a seed, the layer and the
    number of the draw; the count of steps is what a checkpoint holds of them.

    Source: Choromanski et al. 2021, section 2.
    """

    projection: Tensor
    steps: Tensor

    def __init__(
        self,
        config: PerformerConfig,
        *,
        width: int,
        heads: int,
        dropout: float,
        layer: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.config, self.heads, self._layer = config, heads, layer
        self._head_dim = width // heads
        self.query_key_value = nn.Linear(width, 3 * width)
        if config.similarity == "cosine":
            self.log_sharpness = nn.Parameter(torch.full((heads,), math.log(_FIRST_SHARPNESS)))
        self.output = nn.Linear(width, width)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("projection", self._draw(0), persistent=False)
        self._steps_done = 0
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return Capabilities(
            modes=frozenset({"offline", "causal", "chunked"}),
            forgets=False,
            exact=False,
            positions="none",
            time="T m",
            memory="T m",
        )

    def score_bytes(self, frames: int) -> int:
        """None: there are no scores of all pairs; see the contract in `base`."""
        return 0

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: AttentionState | None = None,
    ) -> AttentionOutput:
        """Attend; see the contract in `base`. There are no weights that dropout could act on."""
        self.check_mode(mode)
        query, key, value = split_heads(self.query_key_value(x), parts=3, heads=self.heads)
        # (batch, head, time, head_dim)
        with torch.autocast(x.device.type, enabled=False):
            query_exponents = self._exponents(query.float())
            real = valid_mask[:, None, :, None]
            key_exponents = self._exponents(key.float()).masked_fill(~real, -math.inf)
            # (batch, head, time, feature)
            counted = nn.functional.pad(value.float(), (0, 1), value=1.0)
            after = None
            if mode.kind == "offline":
                features = self._features(key_exponents)
                sums = features.transpose(2, 3) @ counted
                context = self._features(query_exponents, keep_rows=True) @ sums
            else:
                assert state is None or isinstance(state, PerformerState)
                context, after = self._scan(query_exponents, key_exponents, counted, mode, state)
            context = context[..., :-1] / context[..., -1:].clamp(min=_SMALLEST)
        output = self.output(join_heads(context.to(value.dtype)))
        return AttentionOutput(
            output=torch.where(valid_mask.unsqueeze(2), output, 0.0), state=after
        )

    @torch.no_grad()
    def after_step(self) -> None:
        """Count the step and draw features anew where the config says so."""
        self._steps_done += 1
        self.steps.fill_(self._steps_done)
        every = self.config.redraw_steps
        if every is not None and self._steps_done % every == 0:
            self.projection.copy_(self._draw(self._steps_done // every))

    def _follow_steps(self) -> None:
        """Draw the features that belong to the count of steps."""
        self._steps_done = int(self.steps)
        every = self.config.redraw_steps
        self.projection.copy_(self._draw(0 if every is None else self._steps_done // every))

    def _draw(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(_SEED + 1000003 * number + self._layer)
        return orthogonal_features(self.config.features, self._head_dim, generator)

    def _exponents(self, x: Tensor) -> Tensor:
        """Exponents of the features of queries or keys, (..., head_dim) to (..., feature)."""
        if self.config.similarity == "cosine":
            sharpness = self.log_sharpness.exp().view(-1, 1, 1)
            x = nn.functional.normalize(x, dim=-1) * sharpness.sqrt()
        else:
            x = x * self._head_dim**-0.25
        projected: Tensor = x @ self.projection.T
        if self.config.kernel == "relu":
            return (projected.relu() + _RELU_OFFSET).log()
        return projected - x.square().sum(dim=-1, keepdim=True) / 2

    @staticmethod
    def _features(exponents: Tensor, *, keep_rows: bool = False) -> Tensor:
        """Exponentials relative to the largest exponent, which cancels: of each row, or of all."""
        largest = exponents.detach().amax(dim=3 if keep_rows else (2, 3), keepdim=True)
        # Nothing but padding has no largest exponent.
        return (exponents - largest.clamp(min=-1e9)).exp()

    def _scan(
        self,
        query_exponents: Tensor,
        key_exponents: Tensor,
        counted: Tensor,
        mode: Mode,
        state: PerformerState | None,
    ) -> tuple[Tensor, PerformerState]:
        """Block after block: read the sums before it, and its own frames, or all of its chunk."""
        batch, heads, time, features = key_exponents.shape
        if state is None:
            shape = (batch, heads, features, counted.shape[3])
            state = PerformerState(
                sums=counted.new_zeros(shape),
                largest=counted.new_full((batch, heads, 1, 1), -1e9),
            )
        sums, largest = state
        rows = mode.chunk_frames or _CAUSAL_BLOCK_FRAMES
        contexts = []
        for start in range(0, time, rows):
            block = slice(start, start + rows)
            queries = self._features(query_exponents[:, :, block], keep_rows=True)
            exponents, values = key_exponents[:, :, block], counted[:, :, block]
            # (batch, head, row, 1)
            own = exponents.detach().amax(dim=3, keepdim=True).clamp(min=-1e9)
            reached = own.cummax(dim=2).values.maximum(largest)
            before, largest = largest, reached[:, :, -1:]
            if mode.kind == "causal":
                # Relative to the largest so far: a later one must not make earlier ones vanish.
                weights = queries @ (exponents - own).exp().transpose(2, 3)
                factors = (own.transpose(2, 3) - reached).clamp(max=0).exp()
                inside = (weights * factors).tril() @ values
                contexts.append((queries @ sums) * (before - reached).exp() + inside)
            keys = (exponents - largest).exp()
            sums = sums * (before - largest).exp() + keys.transpose(2, 3) @ values
            if mode.kind == "chunked":
                contexts.append(queries @ sums)
        return torch.cat(contexts, dim=2), PerformerState(sums.detach(), largest.clone())


def _after_loading(attention: PerformerAttention, _: object) -> None:
    # No method: a copy of the module would call that of the original.
    attention._follow_steps()
