"""Softmax over groups of keys, computed block by block of queries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from asr.model.attention.base import Mode
from asr.model.attention.keys import KeyGroup, Keys, OffsetKeys, WholeKeys, WindowKeys
from asr.model.attention.masks import allowed_by_mode, offsets, penalty
from asr.model.attention.positions import PositionScores
from asr.model.attention.softmax_config import SoftmaxConfig
from asr.model.attention.windows import QueryKeyPairs, QueryWindow, window_pairs
from asr.model.dropout import Dropout

# Where no gradient is needed, inputs go in slices of queries: so many that a CPU's cache holds the
# scores, but not so few that what a slice costs besides counts, as long as memory holds them.
_SCORES_IN_CACHE = 1 << 20
_FEWEST_QUERIES = 64
SCORES_AT_ONCE = 1 << 25
SCORE_BYTES = 4
_SMALLEST_BLOCK_FRAMES = 32


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far queries look, in frames; None is no limit.

    Args:
        before: Towards the past.
        after: Towards the future.
    """

    before: int | None
    after: int | None

    def under(self, mode: Mode) -> "Reach":
        """The reach that a mode leaves, besides a query's own chunk."""
        if mode.kind == "offline":
            return self
        lefts = [frames for frames in (self.before, mode.left_frames) if frames is not None]
        return Reach(before=min(lefts, default=None), after=0)


@dataclass(frozen=True, kw_only=True)
class BlockwiseSoftmax:
    """Softmax attention of queries, block by block, to the keys around each block.

    Args:
        config: The pattern's settings.
        terms: Terms of position that are added to scores.
        dropout: Drops weights.
        mode: Which frames a frame may attend to.
        reach: How far the pattern looks.
        heads: Which heads they are.
        dilation: Frames between neighbours.
        fixed: Further keys, the same for all queries.
    """

    config: SoftmaxConfig
    terms: PositionScores
    dropout: Dropout
    mode: Mode
    reach: Reach
    heads: slice
    dilation: int
    fixed: Sequence[KeyGroup]

    def attend(self, query: Tensor, keys: Keys, *, start: int) -> Tensor:
        """Attend to keys around queries.

        Args:
            query: (batch, head, time, head_dim), not scaled.
            keys: Keys of all frames.
            start: Place of the first query among the keys.

        Returns:
            (batch, head, time, head_dim); of no meaning for queries that are not valid.
        """
        queries, total = query.shape[2], keys.key.shape[2]
        block = self._block(total=total)
        # Reversible layers repeat with gradients what they did without: dropout must draw alike.
        in_one = torch.is_grad_enabled() or self.dropout.is_active
        if in_one or torch.compiler.is_exporting():
            return self._slice(query, keys, start=start, block=block)
        key_count = total if block is None else 2 * block.key_count
        if self.config.pattern == "exponential":
            key_count = _SMALLEST_BLOCK_FRAMES
        rows = (self.mode.chunk_frames or 1) if block is None else block.rows
        scores = query.shape[0] * query.shape[1] * key_count * rows
        size = SCORES_AT_ONCE // scores
        if query.device.type == "cpu":
            size = min(size, max(_SCORES_IN_CACHE // scores, _FEWEST_QUERIES // rows))
        size = max(1, size) * rows
        whole = self._whole(keys) if block is None else None
        context = None
        for first in range(0, queries, size):
            part = query[:, :, first : first + size]
            low, high = 0, total
            if block is not None and self.config.pattern == "window":
                low = max(0, start + first - block.before)
                high = min(total, start + first + part.shape[2] + block.after)
            place = start + first - low
            seen = keys.narrow(low, high)
            gathered = self._slice(part, seen, start=place, block=block, whole=whole)
            if size >= queries:
                return gathered
            # Made once: kept pieces between the slices' scores would keep their memory apart.
            if context is None:
                context = gathered.new_empty(query.shape)
            context[:, :, first : first + size] = gathered
        assert context is not None
        return context

    def _block(self, *, total: int) -> QueryWindow | None:
        """Blocks of queries that are cheaper than one block of all; None is one of all."""
        reach = self.reach.under(self.mode)
        chunk = self.mode.chunk_frames or 1
        if self.config.pattern == "exponential" and self.mode.kind == "chunked":
            # Windows hold a query's own chunk alone.
            reach = Reach(before=0, after=0)
        if reach.before is None or reach.after is None:
            return None
        rows = max(_SMALLEST_BLOCK_FRAMES, (reach.before + reach.after) // 2)
        window = QueryWindow(rows=-(-rows // chunk) * chunk, before=reach.before, after=reach.after)
        if self.config.pattern == "window" and not torch.compiler.is_exporting():
            return window if total > window.key_count else None
        return window

    def _whole(self, keys: Keys) -> WholeKeys | None:
        """The keys, where all queries score all of them, nothing else, and one kernel does it."""
        alone = self.config.pattern == "window" and not self.fixed
        # Automatic casting would make biases bfloat16, too coarse for far frames.
        is_exact = keys.key.device.type == "cpu" and keys.key.dtype == torch.float32
        return WholeKeys(keys) if alone and is_exact else None

    def _slice(
        self,
        query: Tensor,
        keys: Keys,
        *,
        start: int,
        block: QueryWindow | None,
        whole: WholeKeys | None = None,
    ) -> Tensor:
        queries = query.shape[2]
        if block is None:
            after = keys.key.shape[2] - start - queries
            block = QueryWindow(rows=queries, before=start, after=after, is_whole=True)
            blocks = query.unsqueeze(2)
        else:
            blocks = _in_blocks(query, block.rows)
        # (batch, head, block, row, head_dim)
        content = self.terms.content_query(blocks, self.heads)
        if whole is not None:
            pairs = self._pairs(block, query.device)
            bias = self.terms.bias(blocks, pairs, heads=self.heads)
            return whole.attend(content, bias)
        groups: list[tuple[KeyGroup, Tensor]] = []
        if self.config.pattern == "exponential":
            groups.append(self._offsets(blocks, content, keys, start=start))
        if self.config.pattern == "window" or self.mode.kind == "chunked":
            groups.append(self._window(blocks, content, keys, start=start, window=block))
        groups += [(group, group.scores(content)) for group in self.fixed]
        if len(groups) == 1:
            [(group, scores)] = groups
            return _out_of_blocks(group.mix(self._weights(scores)), queries)
        weights = self._weights(torch.cat([scores for _, scores in groups], dim=4))
        split = torch.split(weights, [scores.shape[4] for _, scores in groups], dim=4)
        mixed = groups[0][0].mix(split[0])
        for (group, _), part in zip(groups[1:], split[1:], strict=True):
            mixed = mixed + group.mix(part)
        return _out_of_blocks(mixed, queries)

    def _weights(self, scores: Tensor) -> Tensor:
        weights: Tensor = self.dropout(torch.softmax(scores, dim=4))
        return weights

    def _window(
        self, query: Tensor, content: Tensor, keys: Keys, *, start: int, window: QueryWindow
    ) -> tuple[KeyGroup, Tensor]:
        """The keys around blocks and their scores."""
        group = WindowKeys(keys, start=start, blocks=query.shape[2], window=window)
        pairs = self._pairs(window, query.device)
        return group, self.terms(group.scores(content), query, pairs, heads=self.heads)

    def _pairs(self, window: QueryWindow, device: torch.device) -> QueryKeyPairs:
        mode = self.mode
        if self.config.pattern == "exponential":
            mode = replace(mode, left_frames=0)
        return window_pairs(
            window,
            mode=mode,
            before=self.reach.before,
            after=self.reach.after,
            dilation=self.dilation,
            device=device,
        )

    def _offsets(
        self, query: Tensor, content: Tensor, keys: Keys, *, start: int
    ) -> tuple[KeyGroup, Tensor]:
        """The keys at fixed distances and their scores."""
        blocks, rows = query.shape[2:4]
        queries = blocks * rows
        distances = offsets(
            before=start + queries - 1,
            after=keys.key.shape[2] - start - 1 if self.mode.kind == "offline" else 0,
            local_frames=self.config.local_frames,
            restart_frames=self.config.restart_frames,
        )
        group = OffsetKeys(keys, start=start, blocks=(blocks, rows), offsets=distances)
        distance = torch.tensor(distances, device=query.device)
        # Seen from the query, all keys at an offset are in the same place.
        here = torch.zeros(1, dtype=torch.long, device=query.device)
        pairs = QueryKeyPairs(here, -distance, None)
        scores = self.terms(group.scores(content), query, pairs, heads=self.heads)
        if self.mode.kind == "offline":
            return group, scores
        frames = torch.arange(queries, device=query.device).unsqueeze(1)
        allowed = allowed_by_mode(self.mode, frames, frames - distance)
        if self.mode.chunk_frames is not None:
            # The own chunk is a group of its own.
            chunk = self.mode.chunk_frames
            allowed = allowed & ((frames - distance) < frames // chunk * chunk)
        return group, scores + penalty(allowed).view(blocks, rows, -1)


def _in_blocks(query: Tensor, rows: int) -> Tensor:
    """Queries (batch, head, block, row, head_dim), with more at the end, of no meaning."""
    queries = query.shape[2]
    if torch.compiler.is_exporting():
        # One block more, since an exported program tells one from several; and by index, since
        # padding and slicing would ask which of the lengths is greater.
        blocks = (queries + 2 * rows - 1) // rows
        first = rows * torch.arange(blocks, device=query.device).unsqueeze(1)
        place = first + torch.arange(rows, device=query.device)
        return query[:, :, place.clamp(max=queries - 1)]
    blocks = (queries + rows - 1) // rows
    padded = nn.functional.pad(query, (0, 0, 0, blocks * rows - queries))
    return padded.view(*query.shape[:2], blocks, rows, query.shape[3])


def _out_of_blocks(x: Tensor, queries: int) -> Tensor:
    """The first frames of (batch, head, block, row, feature): (batch, head, time, feature)."""
    if torch.compiler.is_exporting():
        frames = torch.arange(queries, device=x.device)
        return x[:, :, frames // x.shape[3], frames % x.shape[3]]
    return x.flatten(2, 3)[:, :, :queries]


def attend_with_dilation(
    softmax: BlockwiseSoftmax, query: Tensor, keys: Keys, *, start: int
) -> Tensor:
    """Attend with a dilation of d: each of d phases of time is a sequence of its own.

    Args:
        softmax: The softmax of one phase; its mode counts frames of one phase.
        query: (batch, head, time, head_dim).
        keys: Keys of all frames.
        start: Place of the first query among the keys.

    Returns:
        (batch, head, time, head_dim).

    Raises:
        ValueError: The program is exported: torch's solver fails at lengths divided by a dilation.
    """
    phases = softmax.dilation
    if phases == 1:
        return softmax.attend(query, keys, start=start)
    if torch.compiler.is_exporting():
        raise ValueError(
            f"expected model.attention.dilation = 1 to export, found {phases}; train without it"
        )
    # Padding in front puts the first query into the first phase.
    front = -start % phases
    folded = Keys(
        _fold(keys.key, phases, front=front),
        _fold(keys.value, phases, front=front),
        _fold(keys.valid[:, None, :, None], phases, front=front)[:, 0, :, 0],
    )
    context = softmax.attend(_fold(query, phases), folded, start=(start + front) // phases)
    context = context.view(-1, phases, *context.shape[1:]).permute(0, 2, 3, 1, 4)
    return _out_of_blocks(context, query.shape[2])


def _fold(x: Tensor, phases: int, *, front: int = 0) -> Tensor:
    """(batch, head, time, feature) to (batch * phase, head, time, feature), padded by zeros."""
    end = -(x.shape[2] + front) % phases
    padded = nn.functional.pad(x, (0, 0, front, end))
    folded = padded.view(*x.shape[:2], -1, phases, x.shape[3])
    # (batch, head, time, phase, feature)
    return folded.permute(0, 3, 1, 2, 4).flatten(0, 1)
