"""Which keys a mode lets a query attend to."""

import torch
from torch import Tensor

from asr.model.attention.base import Mode

# Added to a score that must not count: far below any score, so that its weight is exactly 0.
FORBIDDEN = -1e9


def allowed_by_mode(mode: Mode, queries: Tensor, keys: Tensor) -> Tensor:
    """Mark the pairs that a mode allows.

    Args:
        mode: The mode.
        queries: Frame of each query, counted from a chunk's beginning; integers of any shape.
        keys: Frame of each key, counted from the same; they broadcast against the queries.

    Returns:
        Bool, of the broadcast shape: causal(left) allows keys of the `left` frames before the query
        and itself, chunked(chunk, left) those of its chunk and of the `left` frames before the
        chunk.
    """
    first = last = queries
    if mode.kind == "offline":
        return torch.ones_like(queries - keys, dtype=torch.bool)
    if mode.chunk_frames is not None:
        first = queries // mode.chunk_frames * mode.chunk_frames
        last = first + mode.chunk_frames - 1
    allowed = keys <= last
    if mode.left_frames is not None:
        allowed = allowed & (keys >= first - mode.left_frames)
    return allowed


def penalty(allowed: Tensor) -> Tensor:
    """0 where allowed and FORBIDDEN elsewhere, float32."""
    return torch.zeros_like(allowed, dtype=torch.float32).masked_fill(~allowed, FORBIDDEN)


def within(width_before: int | None, width_after: int | None, distance: Tensor) -> Tensor:
    """Mark the distances i - j from query i to key j that a window holds; None is no limit."""
    allowed = torch.ones_like(distance, dtype=torch.bool)
    if width_before is not None:
        allowed = allowed & (distance <= width_before)
    if width_after is not None:
        allowed = allowed & (distance >= -width_after)
    return allowed
