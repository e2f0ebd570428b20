"""Softmax attention over chosen keys: its projections, its state and its naive reference."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.model.attention.base import (
    OFFLINE,
    Attention,
    AttentionOutput,
    AttentionState,
    Capabilities,
    Mode,
    ParameterGroup,
    join_heads,
    split_heads,
)
from asr.model.attention.keys import FixedKeys, GlobalFrames, Keys, PersistentVectors
from asr.model.attention.masks import allowed_by_mode, in_pattern
from asr.model.attention.positions import PositionScores
from asr.model.attention.softmax_blocks import (
    SCORE_BYTES,
    SCORES_AT_ONCE,
    BlockwiseSoftmax,
    Reach,
    attend_with_dilation,
)
from asr.model.attention.softmax_config import SoftmaxConfig, dilations_of_heads, window_of_layer
from asr.model.dropout import Dropout


class CausalProjection(nn.Module):
    """Queries and keys by a causal convolution over time, values by a linear map.

    Source: Li et al. 2019 (LogSparse Transformer), section 4.1.
    """

    def __init__(self, *, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.query_key = nn.Linear(kernel * width, 2 * width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, tail: Tensor) -> Tensor:
        """Project.

        Args:
            x: (batch, time, feature).
            tail: The kernel - 1 frames before `x`; zeros at the start.

        Returns:
            (batch, time, 3 * feature): query, key, value.
        """
        frames = torch.cat([tail, x], dim=1).unfold(1, self.kernel, 1)
        # (batch, time, feature, kernel)
        return torch.cat([self.query_key(frames.flatten(2)), self.value(x)], dim=2)


class LinearProjection(nn.Linear):
    """Queries, keys and values by one linear map, with the call of CausalProjection."""

    def __init__(self, *, width: int) -> None:
        super().__init__(width, 3 * width)

    def forward(self, x: Tensor, tail: Tensor) -> Tensor:  # type: ignore[override]
        """Project (batch, time, feature); no frame before is needed."""
        return super().forward(x)


class SoftmaxState(NamedTuple):
    """What was seen before: keys, values (batch, head, time, head_dim), validity and input tail."""

    key: Tensor
    value: Tensor
    valid: Tensor
    tail: Tensor

    def select(self, index: Tensor) -> "SoftmaxState":
        """The state of some items."""
        return SoftmaxState(*(tensor.index_select(0, index) for tensor in self))


def naive_attention(
    query: Tensor, key: Tensor, value: Tensor, *, allowed: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Softmax attention, written as the equation reads.

    Args:
        query: (batch, head, time, head_dim), not scaled.
        key: (batch, head, key_time, head_dim).
        value: (batch, head, key_time, head_dim).
        allowed: Bool, broadcastable to (batch, head, time, key_time); True where attention is
            allowed.
        bias: Added to the scaled scores, broadcastable like `allowed`.

    Returns:
        (batch, head, time, head_dim); zero for a query that may attend to nothing.

    Source: Vaswani et al. 2017, equation 1.
    """
    scores = query.float() @ key.float().transpose(-2, -1) / query.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~allowed, float("-inf"))
    weights = torch.softmax(scores, dim=-1).masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)
    return weights @ value.float()


class SoftmaxAttention(Attention):
    """Multi-head softmax attention; its config chooses keys, positions, spans and memory.

    Scores of all groups of keys (windows, offsets, global frames, persistent vectors) stand side by
    side under one softmax. Keys and values of earlier frames, without gradient, are the state.

    Source: Vaswani et al. 2017, section 3.2, and the sources of its parts.
    """

    def __init__(
        self,
        config: SoftmaxConfig,
        *,
        width: int,
        heads: int,
        dropout: float,
        layer: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        kernel = config.query_key_kernel_frames
        self.projection = (
            LinearProjection(width=width)
            if kernel == 1
            else CausalProjection(width=width, kernel=kernel)
        )
        self.scores = PositionScores(config, width=width, heads=heads)
        self.persistent = self.global_frames = None
        if config.persistent_vectors:
            self.persistent = PersistentVectors(config.persistent_vectors, width=width, heads=heads)
        if config.global_frames:
            self.global_frames = GlobalFrames(
                count=config.global_frames, width=width, heads=heads, dropout=dropout
            )
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(width, width)
        self._window_frames = window_of_layer(config, layer=layer, layers=layers)
        self._runs = dilations_of_heads(config, heads=heads)
        self._capabilities = self._find_capabilities()

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return self._capabilities

    def _find_capabilities(self) -> Capabilities:
        config = self.config
        modes = {"offline", "causal", "chunked"}
        if config.positions == "alibi" and config.alibi_sides == "split":
            modes -= {"causal"}
        if self.global_frames is not None:
            modes = {"offline"}
        sparse = "T log T" if config.pattern == "exponential" else "T w"
        growth = "T^2" if self._scores_all_pairs else sparse
        return Capabilities(
            modes=frozenset(modes),
            period=math.lcm(*(dilation for _, dilation in self._runs)),
            exact=True,
            replaces_feed_forward=config.replaces_feed_forward,
            positions="bias" if config.positions == "alibi" else config.positions,
            time=growth,
            memory=growth,
        )

    def score_bytes(self, frames: int) -> int:
        """Of full rows of scores, in slices of queries; see the contract in `base`."""
        if not self._scores_all_pairs:
            return 0
        return SCORE_BYTES * min(self.heads * frames * frames, SCORES_AT_ONCE)

    @property
    def _scores_all_pairs(self) -> bool:
        """Whether each query scores a number of keys that grows with their number."""
        if self.config.pattern == "exponential":
            return self.config.restart_frames is not None
        return self.config.span is None and self._window_frames is None

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: AttentionState | None = None,
    ) -> AttentionOutput:
        """Attend; see the contract in `base`."""
        self.check_mode(mode)
        previous = state if isinstance(state, SoftmaxState) else self._nothing_before(x)
        projected = self.projection(x, previous.tail.to(x.dtype))
        query, key, value = split_heads(projected, parts=3, heads=self.heads)
        # (batch, head, time, head_dim)
        start = previous.key.shape[2]
        keys = Keys(
            key=torch.cat([previous.key.to(key.dtype), key], dim=2) if start else key,
            value=torch.cat([previous.value.to(key.dtype), value], dim=2) if start else value,
            valid=torch.cat([previous.valid, valid_mask], dim=1) if start else valid_mask,
        )
        context = self._context(x, query, keys, start=start, mode=mode)
        output = self.output(join_heads(context))
        return AttentionOutput(
            output=torch.where(valid_mask.unsqueeze(2), output, 0.0),
            state=None if mode.kind == "offline" else self._remember(keys, x, previous, mode),
            losses=self.scores.losses(),
        )

    def reference(self, x: Tensor, valid_mask: Tensor, *, mode: Mode = OFFLINE) -> Tensor:
        """The output of `forward` by the naive equation over all pairs of frames."""
        parts = split_heads(
            self.projection(x, self._nothing_before(x).tail), parts=3, heads=self.heads
        )
        query, key, value = (part.float() for part in parts)
        allowed = self._allowed(x, valid_mask, mode=mode)
        frames = torch.arange(x.shape[1], device=x.device)
        distance = frames.unsqueeze(1) - frames
        bias = self.scores.reference(query, distance)
        if self.global_frames is not None:
            # These are scored by content alone.
            bias = bias * ~self.global_frames.marks(valid_mask)[:, None, None, :]
        content = self.scores.with_content_bias(query)
        if self.persistent is not None:
            more_keys, more_values = self.persistent.keys_and_values()
            count = more_keys.shape[2]
            key = torch.cat([key, more_keys.expand(len(x), -1, -1, -1)], dim=2)
            value = torch.cat([value, more_values.expand(len(x), -1, -1, -1)], dim=2)
            allowed = nn.functional.pad(allowed, (0, count), value=True)
            bias = nn.functional.pad(bias, (0, count))
        context = naive_attention(content, key, value, allowed=allowed, bias=bias)
        if self.global_frames is not None:
            places = self.global_frames.places(valid_mask)
            context = self.global_frames.overwrite(context, x, valid_mask, places)
        return torch.where(valid_mask.unsqueeze(2), self.output(join_heads(context)), 0.0)

    def _allowed(self, x: Tensor, valid_mask: Tensor, *, mode: Mode) -> Tensor:
        """Pairs that may attend: (batch, head, time, time)."""
        frames = torch.arange(x.shape[1], device=x.device)
        distance = frames.unsqueeze(1) - frames
        config, window = self.config, self._window_frames
        if config.pattern == "exponential":
            own = in_pattern(
                distance, local_frames=config.local_frames, restart_frames=config.restart_frames
            )
            if mode.chunk_frames is not None:
                chunk = frames // mode.chunk_frames
                own = (own & (distance >= 0)) | (chunk.unsqueeze(1) == chunk)
            pattern = own.expand(self.heads, -1, -1)
        elif window is None:
            pattern = torch.ones_like(distance, dtype=torch.bool).expand(self.heads, -1, -1)
        else:
            pattern = torch.cat(
                [
                    ((distance % step == 0) & (distance.abs() <= window * step)).expand(
                        run.stop - run.start, -1, -1
                    )
                    for run, step in self._runs
                ]
            )
        allowed = pattern & allowed_by_mode(mode, frames.unsqueeze(1), frames)
        if self.global_frames is not None:
            allowed = allowed | self.global_frames.marks(valid_mask)[:, None, None, :]
        return allowed & valid_mask[:, None, None, :]

    def after_step(self) -> None:
        """Keep learned spans in range."""
        if self.scores.span is not None:
            self.scores.span.after_step()

    def after_loading(self) -> None:
        """Measure the window that learned spans need."""
        if self.scores.span is not None:
            self.scores.span.measure()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Learned spans: a rate of their own."""
        span = self.scores.span
        if span is None:
            return []
        factor = span.config.rate_factor
        return [ParameterGroup(parameters=(span.fraction,), rate_factor=factor)]

    def _reach(self) -> Reach:
        """How far this layer looks in any mode, in steps of the dilation."""
        if self.scores.span is not None:
            before, after = self.scores.span.window_frames
            return Reach(before=before, after=after)
        window = self._window_frames
        return Reach(before=window, after=window)

    def _context(self, x: Tensor, query: Tensor, keys: Keys, *, start: int, mode: Mode) -> Tensor:
        """What queries gather: (batch, head, time, head_dim)."""
        if self._is_plain(mode):
            return nn.functional.scaled_dot_product_attention(
                query, keys.key, keys.value, attn_mask=keys.valid[:, None, None, :]
            )
        if self.global_frames is None:
            return self._runs_of_heads(query, keys, [], start=start, mode=mode)
        places = self.global_frames.places(keys.valid)
        others, chosen = self.global_frames.split(keys, places)
        context = self._runs_of_heads(query, others, [chosen], start=start, mode=mode)
        return self.global_frames.overwrite(context, x, keys.valid, places)

    def _is_plain(self, mode: Mode) -> bool:
        """Whether the fused kernel serves: every key for every query, and no dropout."""
        nothing_added = self.config.positions == "none" and self.scores.span is None
        all_keys = self._window_frames is None and self.config.pattern == "window"
        all_keys = all_keys and mode.kind == "offline" and self.persistent is None
        return nothing_added and all_keys and not self.dropout.is_active

    def _runs_of_heads(
        self, query: Tensor, keys: Keys, fixed: list[FixedKeys], *, start: int, mode: Mode
    ) -> Tensor:
        """Attend with each run of heads that share a dilation."""
        contexts = []
        for heads, dilation in self._runs:
            groups = [each.of(heads, copies=dilation) for each in fixed]
            if self.persistent is not None:
                groups.append(self.persistent.of_heads(heads, query.dtype))
            softmax = BlockwiseSoftmax(
                config=self.config,
                terms=self.scores,
                dropout=self.dropout,
                mode=mode.divided(dilation),
                reach=self._reach(),
                heads=heads,
                dilation=dilation,
                fixed=groups,
            )
            if len(self._runs) == 1:
                return attend_with_dilation(softmax, query, keys, start=start)
            own = Keys(keys.key[:, heads], keys.value[:, heads], keys.valid)
            contexts.append(attend_with_dilation(softmax, query[:, heads], own, start=start))
        return torch.cat(contexts, dim=1)

    def _nothing_before(self, x: Tensor) -> SoftmaxState:
        """The state at the start."""
        batch, _, width = x.shape
        empty = x.new_zeros(batch, self.heads, 0, width // self.heads)
        return SoftmaxState(
            key=empty,
            value=empty,
            valid=torch.zeros(batch, 0, dtype=torch.bool, device=x.device),
            tail=x.new_zeros(batch, self.config.query_key_kernel_frames - 1, width),
        )

    def _remember(self, keys: Keys, x: Tensor, previous: SoftmaxState, mode: Mode) -> SoftmaxState:
        """What later frames can see of these and earlier ones."""
        total = keys.key.shape[2]
        dilation = max(dilation for _, dilation in self._runs)
        before = self._reach().before
        reach = Reach(before=None if before is None else before * dilation, after=0)
        before = reach.under(mode).before
        first = 0 if before is None else max(0, total - before)
        seen = keys.narrow(first, total)
        # Copies: a view would keep all of the frames alive.
        return SoftmaxState(
            key=seen.key.detach().clone(),
            value=seen.value.detach().clone(),
            valid=seen.valid.clone(),
            tail=self._tail(x, previous.tail),
        )

    def _tail(self, x: Tensor, previous: Tensor) -> Tensor:
        """The frames that the next projection convolves with."""
        frames = self.config.query_key_kernel_frames - 1
        if frames == 0:
            return previous
        joined = torch.cat([previous.to(x.dtype), x], dim=1)
        return joined[:, joined.shape[1] - frames :].detach().clone()
