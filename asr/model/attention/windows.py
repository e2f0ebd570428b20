"""Blocks of queries, the window of keys around each, and the distances between them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asr.model.attention.base import Mode
from asr.model.attention.masks import allowed_by_mode, penalty, within
from asr.model.sinusoids import sinusoids


@dataclass(frozen=True, kw_only=True)
class QueryWindow:
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
    def key_count(self) -> int:
        """Keys of a block."""
        return self.before + self.rows + self.after

    def query_frames(self, device: torch.device) -> Tensor:
        """Frames of a block's queries, counted from its first: (row,)."""
        return torch.arange(self.rows, device=device)

    def key_frames(self, device: torch.device) -> Tensor:
        """Frames of a block's keys, counted from its first query: (key,)."""
        return torch.arange(self.key_count, device=device) - self.before


# Pairs of a block up to which they are kept for the next layers and chunks.
_KEPT_PAIRS = 1 << 18


class QueryKeyPairs:
    """Frames of queries and keys, their distances, and what forbids pairs of them.

    Both are counted from the same frame.

    Args:
        query_frames: (time,), or (1,) for all queries alike.
        key_frames: (key,); where queries differ, all are as far apart as the queries are.
        allowed: (time, key) bool; None is everywhere.
    """

    def __init__(self, query_frames: Tensor, key_frames: Tensor, allowed: Tensor | None) -> None:
        self.query_frames, self.key_frames = query_frames, key_frames
        self.penalty = None if allowed is None else penalty(allowed).unsqueeze(0)
        """What forbids pairs: (1, time, key) float32."""
        self._sinusoids: dict[tuple[int, torch.dtype], Tensor] = {}

    @property
    def distance(self) -> Tensor:
        """Frames from each key to each query, i - j: (time, key)."""
        return self.query_frames.unsqueeze(1) - self.key_frames

    @property
    def distances(self) -> Tensor:
        """All distances (time + key - 1,) from that of the last query to the first key down.

        A query's own ones begin one place before those of the query ahead of it.
        """
        queries, keys = self.query_frames, self.key_frames
        return torch.cat([queries[1:].flip(0) - keys[0], queries[0] - keys])

    def sinusoids(self, width: int, dtype: torch.dtype) -> Tensor:
        """Sinusoids (time + key - 1, width) of all distances."""
        if _is_compiling():
            return sinusoids(self.distances, width).to(dtype)
        key = (width, dtype)
        if key not in self._sinusoids:
            # Tensors of inference mode could not be used in training.
            with torch.inference_mode(mode=False):
                self._sinusoids[key] = sinusoids(self.distances, width).to(dtype)
        return self._sinusoids[key]


def window_pairs(
    window: QueryWindow,
    *,
    mode: Mode,
    before: int | None,
    after: int | None,
    dilation: int,
    device: torch.device,
) -> QueryKeyPairs:
    """The pairs of queries and keys in a block, which are the same in every block.

    Args:
        window: The blocks.
        mode: Which frames a frame may attend to, in steps of the dilation.
        before: Reach towards the past, in steps of the dilation; None is no limit.
        after: Reach towards the future.
        dilation: Frames of a step, which lie between neighbouring queries and keys.
        device: Where the tensors are wanted.

    Returns:
        The pairs; where they are few, they are made once and kept.
    """
    if _is_compiling() or window.rows * window.key_count > _KEPT_PAIRS:
        return _make(window, mode, (before, after), dilation, device)
    return _kept(window, mode, (before, after), dilation, device)


def _is_compiling() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def _make(
    window: QueryWindow,
    mode: Mode,
    reach: tuple[int | None, int | None],
    dilation: int,
    device: torch.device,
) -> QueryKeyPairs:
    queries, keys = window.query_frames(device), window.key_frames(device)
    allowed = None
    if mode.kind != "offline" or reach != (None, None):
        rows = queries.unsqueeze(1)
        allowed = allowed_by_mode(mode, rows, keys) & within(*reach, rows - keys)
    return QueryKeyPairs(queries * dilation, keys * dilation, allowed)


@lru_cache(maxsize=64)
def _kept(
    window: QueryWindow,
    mode: Mode,
    reach: tuple[int | None, int | None],
    dilation: int,
    device: torch.device,
) -> QueryKeyPairs:
    with torch.inference_mode(mode=False):
        return _make(window, mode, reach, dilation, device)
