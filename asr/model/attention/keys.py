"""Groups of keys that queries score and whose values they mix; one softmax spans several groups."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from asr.model.attention.base import split_heads
from asr.model.attention.masks import FORBIDDEN, penalty
from asr.model.attention.windows import QueryWindow


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


class KeyGroup(Protocol):
    """A group of keys that one softmax may join with others."""

    def scores(self, query: Tensor) -> Tensor:
        """Scores (batch, head, block, row, key) of queries (batch, head, block, row, head_dim).

        Queries are scaled and in blocks of rows, one after another.
        """
        ...

    def mix(self, weights: Tensor) -> Tensor:
        """Values (batch, head, block, row, head_dim), weighted by the shape of the scores."""
        ...


class WindowKeys:
    """The keys in windows around blocks of queries.

    Args:
        keys: All keys.
        start: Place of the first query among the keys.
        blocks: Blocks of queries.
        window: What a block sees.
    """

    def __init__(self, keys: Keys, *, start: int, blocks: int, window: QueryWindow) -> None:
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
        # (batch, head, block, head_dim, key)

    def _windows(self, x: Tensor, blocks: int) -> Tensor:
        if self._window.is_whole:
            return x.transpose(2, 3).unsqueeze(2)
        if torch.compiler.is_exporting():
            first = self._window.rows * torch.arange(blocks, device=x.device).unsqueeze(1)
            place = first + torch.arange(self._window.key_count, device=x.device)
            return x[:, :, place].transpose(3, 4)
        return x.unfold(2, self._window.key_count, self._window.rows)

    def scores(self, query: Tensor) -> Tensor:
        """Score; see KeyGroup."""
        return _for_penalty(query) @ self._key

    def mix(self, weights: Tensor) -> Tensor:
        """Mix; see KeyGroup."""
        return weights @ self._value.transpose(3, 4)


class WholeKeys:
    """All keys for all queries, scored and mixed by one kernel that keeps no scores."""

    def __init__(self, keys: Keys) -> None:
        self._key = _with_penalty(keys)
        # The kernel wants as many features as keys have.
        self._value = nn.functional.pad(keys.value, (0, 1))

    def attend(self, query: Tensor, bias: Tensor | None) -> Tensor:
        """Attend.

        Args:
            query: (batch, head, 1, time, head_dim), scaled.
            bias: (batch or 1, head, 1, time, key), added to scores.

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


class OffsetKeys:
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
        """Score each offset; see KeyGroup."""
        frames = query.flatten(2, 3)
        products = [(frames * self._key(offset)).sum(dim=3) for offset in self._offsets]
        return self._in_blocks(torch.stack(products, dim=3) + self._penalty)

    def mix(self, weights: Tensor) -> Tensor:
        """Mix each offset; see KeyGroup."""
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


class FixedKeys:
    """The same keys for all queries.

    Args:
        key: (batch or 1, head, key, head_dim).
        value: Like `key`.
        valid: (batch, key) bool; None: all are.
    """

    def __init__(self, key: Tensor, value: Tensor, valid: Tensor | None = None) -> None:
        self.key, self.value, self.valid = key, value, valid

    def of(self, heads: slice, *, copies: int) -> "FixedKeys":
        """The keys of some heads, every item repeated."""
        valid = None if self.valid is None else self.valid.repeat_interleave(copies, dim=0)
        key = self.key[:, heads].repeat_interleave(copies, dim=0)
        value = self.value[:, heads].repeat_interleave(copies, dim=0)
        return FixedKeys(key, value, valid)

    def scores(self, query: Tensor) -> Tensor:
        """Score; see KeyGroup."""
        scores = query @ self.key.transpose(2, 3).unsqueeze(2)
        if self.valid is None:
            return scores
        return scores.masked_fill(~self.valid[:, None, None, None, :], FORBIDDEN)

    def mix(self, weights: Tensor) -> Tensor:
        """Mix; see KeyGroup."""
        return weights @ self.value.unsqueeze(2)


class PersistentVectors(nn.Module):
    """Learned key-value pairs of each head, under the same softmax as the frames.

    They are stored small and multiplied by the root of their size, which raises their learning
    rate. They have no positions.

    Source: Sukhbaatar et al. 2019 (Augmenting Self-attention with Persistent Memory), section 3.
    """

    def __init__(self, count: int | Literal["feed_forward"], *, width: int, heads: int) -> None:
        super().__init__()
        # A feed-forward module of the usual four times the width has as many parameters.
        count = 4 * width if count == "feed_forward" else count
        head_dim = width // heads
        self.key = nn.Parameter(torch.randn(heads, count, head_dim) * head_dim**-0.5)
        self.value = nn.Parameter(torch.randn(heads, count, head_dim) * count**-0.5)

    def of_heads(self, heads: slice, dtype: torch.dtype) -> FixedKeys:
        """The vectors of some heads."""
        _, count, head_dim = self.key.shape
        key = self.key[heads] * head_dim**0.5
        value = self.value[heads] * count**0.5
        return FixedKeys(key.unsqueeze(0).to(dtype), value.unsqueeze(0).to(dtype))

    def keys_and_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values as they are used: (1, head, vector, head_dim)."""
        group = self.of_heads(slice(None), self.key.dtype)
        return group.key, group.value


class GlobalFrames(nn.Module):
    """A fixed number of frames, spread evenly over each utterance, with projections of their own.

    Source: Beltagy et al. 2020, section 3.1; evenly spread, since frames have no [CLS] among them.
    """

    def __init__(self, *, count: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.count, self.heads, self.dropout = count, heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)

    def places(self, valid_mask: Tensor) -> Tensor:
        """Which frames are global: (batch, count) int64; short utterances repeat some."""
        numbers = torch.arange(self.count, device=valid_mask.device)
        return valid_mask.sum(dim=1, keepdim=True) * numbers // self.count

    def marks(self, valid_mask: Tensor) -> Tensor:
        """Where the global frames are: (batch, time) bool."""
        return torch.zeros_like(valid_mask).scatter(1, self.places(valid_mask), value=True)

    def split(self, keys: Keys, places: Tensor) -> tuple[Keys, FixedKeys]:
        """The keys with the global ones taken out, and these."""
        index = places[:, None, :, None].expand(-1, *keys.key.shape[1:2], -1, keys.key.shape[3])
        fixed = FixedKeys(
            keys.key.gather(2, index),
            keys.value.gather(2, index),
            _is_first(places) & keys.valid.gather(1, places),
        )
        return keys._replace(valid=keys.valid & ~self.marks(keys.valid)), fixed

    def overwrite(self, context: Tensor, x: Tensor, valid_mask: Tensor, places: Tensor) -> Tensor:
        """Put what the global frames gather into the context (batch, head, time, head_dim)."""
        query, key, value = split_heads(self.query_key_value(x), parts=3, heads=self.heads)
        index = places[:, None, :, None].expand(-1, self.heads, -1, query.shape[3])
        gathered = nn.functional.scaled_dot_product_attention(
            query.gather(2, index),
            key,
            value,
            attn_mask=valid_mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        # Repeated places go to a spare frame: a scatter's gradient needs different ones.
        time = context.shape[2]
        index = torch.where(_is_first(places), places, time)[:, None, :, None].expand_as(index)
        padded = nn.functional.pad(context, (0, 0, 0, 1))
        return padded.scatter(2, index, gathered.to(context.dtype))[:, :, :time]


def _is_first(places: Tensor) -> Tensor:
    """Which of the places, which ascend, are no repetition of the one before."""
    return nn.functional.pad(places[:, 1:] != places[:, :-1], (1, 0), value=True)
