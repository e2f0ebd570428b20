"""Groups of keys that queries score and whose values they mix; one softmax spans several groups."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from asr.model.attention.masks import FORBIDDEN, penalty


class Keys(NamedTuple):
    """Keys and values along time: (batch, head, time, head_dim), valid (batch, time)."""

    key: Tensor
    value: Tensor
    valid: Tensor

    def narrow(self, start: int, end: int) -> "Keys":
        """The keys of some frames."""
        if start == 0 and end == self.key.shape[2]:
            return self
        frames = slice(start, end)
        return Keys(self.key[:, :, frames], self.value[:, :, frames], self.valid[:, frames])


class Columns(Protocol):
    """Keys of one kind."""

    def scores(self, query: Tensor) -> Tensor:
        """Scores (batch, head, block, row, column) of queries (batch, head, block, row, head_dim).

        Queries are scaled and in blocks of rows, one after another.
        """
        ...

    def mix(self, weights: Tensor) -> Tensor:
        """Values (batch, head, block, row, head_dim), weighted by the shape of the scores."""
        ...


@dataclass(frozen=True, kw_only=True)
class Window:
    """Blocks of queries and the keys around each.

    Args:
        rows: Queries in a block.
        before: Keys before a block's first query.
        after: Keys after a block's last query.
        is_whole: Whether one block holds all queries and keys.
    """

    rows: int
    before: int
    after: int
    is_whole: bool = False

    @property
    def columns(self) -> int:
        """Keys of a block."""
        return self.before + self.rows + self.after

    def query_frames(self, device: torch.device) -> Tensor:
        """Frames of a block's queries, counted from its first: (row,)."""
        return torch.arange(self.rows, device=device)

    def key_frames(self, device: torch.device) -> Tensor:
        """Frames of a block's keys, counted from its first query: (column,)."""
        return torch.arange(self.columns, device=device) - self.before


class WindowColumns:
    """The keys in windows around blocks of queries.

    Args:
        keys: All keys.
        start: Place of the first query among the keys.
        blocks: Blocks of queries.
        window: What a block sees.
    """

    def __init__(self, keys: Keys, *, start: int, blocks: int, window: Window) -> None:
        self._window = window
        if not window.is_whole:
            total = keys.key.shape[2]
            pad = (window.before - start, start + blocks * window.rows + window.after - total)
            keys = Keys(
                nn.functional.pad(keys.key, (0, 0, *pad)),
                nn.functional.pad(keys.value, (0, 0, *pad)),
                nn.functional.pad(keys.valid, pad),
            )
        self._key = self._windows(_with_penalty(keys), blocks)
        self._value = self._windows(keys.value, blocks)
        # (batch, head, block, head_dim, column)

    def _windows(self, x: Tensor, blocks: int) -> Tensor:
        if self._window.is_whole:
            return x.transpose(2, 3).unsqueeze(2)
        if torch.compiler.is_exporting():
            first = self._window.rows * torch.arange(blocks, device=x.device).unsqueeze(1)
            place = first + torch.arange(self._window.columns, device=x.device)
            return x[:, :, place].transpose(3, 4)
        return x.unfold(2, self._window.columns, self._window.rows)

    def scores(self, query: Tensor) -> Tensor:
        """Score; see Columns."""
        return _for_penalty(query) @ self._key

    def mix(self, weights: Tensor) -> Tensor:
        """Mix; see Columns."""
        return weights @ self._value.transpose(3, 4)


class WholeColumns:
    """All keys for all queries, scored and mixed by one kernel that keeps no scores."""

    def __init__(self, keys: Keys) -> None:
        self._key = _with_penalty(keys)
        # The kernel wants as many features as keys have.
        self._value = nn.functional.pad(keys.value, (0, 1))

    def attend(self, query: Tensor, bias: Tensor | None) -> Tensor:
        """Attend.

        Args:
            query: (batch, head, 1, time, head_dim), scaled.
            bias: (batch or 1, head, 1, time, column), added to scores.

        Returns:
            (batch, head, time, head_dim).
        """
        context = nn.functional.scaled_dot_product_attention(
            _for_penalty(query).squeeze(2),
            self._key,
            self._value,
            attn_mask=None if bias is None else bias.squeeze(2),
            scale=1.0,
        )
        return context[..., :-1]


def _with_penalty(keys: Keys) -> Tensor:
    """Keys with one feature more, which forbids those that are not valid."""
    forbidden = penalty(keys.valid).to(keys.key.dtype)[:, None, :, None]
    return torch.cat([keys.key, forbidden.expand(-1, keys.key.shape[1], -1, -1)], dim=3)


def _for_penalty(query: Tensor) -> Tensor:
    """Queries with the feature that such keys have more."""
    return nn.functional.pad(query, (0, 1), value=1.0)


class OffsetColumns:
    """The keys at fixed distances from each query.

    Args:
        keys: All keys.
        start: Place of the first query among the keys.
        blocks: Blocks of queries, and rows of each.
        offsets: Distances i - j from query to key.
    """

    def __init__(
        self, keys: Keys, *, start: int, blocks: tuple[int, int], offsets: list[int]
    ) -> None:
        self._blocks, self._offsets = blocks, offsets
        queries = blocks[0] * blocks[1]
        self._key = _Shifts(keys.key, start, queries, offsets)
        self._value = _Shifts(keys.value, start, queries, offsets)
        valid = _Shifts(keys.valid[:, None, :, None], start, queries, offsets)
        self._penalty = penalty(torch.cat([valid(offset) for offset in offsets], dim=3))
        # (batch, 1, time, offset)

    def scores(self, query: Tensor) -> Tensor:
        """Score each offset; see Columns."""
        frames = query.flatten(2, 3)
        products = [(frames * self._key(offset)).sum(dim=3) for offset in self._offsets]
        return self._in_blocks(torch.stack(products, dim=3) + self._penalty)

    def mix(self, weights: Tensor) -> Tensor:
        """Mix each offset; see Columns."""
        split = torch.split(weights.flatten(2, 3), 1, dim=3)
        total = split[0] * self._value(self._offsets[0])
        for weight, offset in zip(split[1:], self._offsets[1:], strict=True):
            total = total + weight * self._value(offset)
        return self._in_blocks(total)

    def _in_blocks(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], *self._blocks, x.shape[3])


class _Shifts:
    """A sequence (batch, head, key_time, feature) as queries at a distance from it see it."""

    def __init__(self, x: Tensor, start: int, queries: int, offsets: list[int]) -> None:
        self._start, self._queries = start, queries
        if torch.compiler.is_exporting():
            # Offsets may be longer than the input is once the program runs.
            self._x = x
            return
        before = max(0, max(offsets) - start)
        after = max(0, start + queries - min(offsets) - x.shape[2])
        self._x = nn.functional.pad(x, (0, 0, before, after))
        self._start += before

    def __call__(self, offset: int) -> Tensor:
        """Frames i - offset for each query i; zero, or False, where there is none."""
        first = self._start - offset
        if not torch.compiler.is_exporting():
            return self._x[:, :, first : first + self._queries]
        place = torch.arange(self._queries, device=self._x.device) + first
        there = (place >= 0) & (place < self._x.shape[2])
        chosen = self._x.index_select(2, place.clamp(0, self._x.shape[2] - 1))
        return chosen.masked_fill(~there[:, None], 0)


class FixedColumns:
    """The same keys for all queries.

    Args:
        key: (batch or 1, head, column, head_dim).
        value: Like `key`.
        valid: (batch, column) bool; None: all are.
    """

    def __init__(self, key: Tensor, value: Tensor, valid: Tensor | None = None) -> None:
        self.key, self.value, self.valid = key, value, valid

    def of(self, heads: slice, *, copies: int) -> "FixedColumns":
        """The columns of some heads, every item repeated."""
        valid = None if self.valid is None else self.valid.repeat_interleave(copies, dim=0)
        key = self.key[:, heads].repeat_interleave(copies, dim=0)
        value = self.value[:, heads].repeat_interleave(copies, dim=0)
        return FixedColumns(key, value, valid)

    def scores(self, query: Tensor) -> Tensor:
        """Score; see Columns."""
        scores = query @ self.key.transpose(2, 3).unsqueeze(2)
        if self.valid is None:
            return scores
        return scores.masked_fill(~self.valid[:, None, None, None, :], FORBIDDEN)

    def mix(self, weights: Tensor) -> Tensor:
        """Mix; see Columns."""
        return weights @ self.value.unsqueeze(2)
