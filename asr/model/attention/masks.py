"""Masks of attention: the keys that a mode, a window or a sparse pattern lets a query attend to."""

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


# Distances that an exported program is made for.
_EXPORTED_FRAMES = 1 << 17


def in_pattern(distance: Tensor, *, local_frames: int, restart_frames: int | None) -> Tensor:
    """Mark distances of zero, of powers of two, and of up to `local_frames`.

    With a restart the same holds of the distance's remainder, so that every block of the past, or
    of the future, repeats the pattern.

    Args:
        distance: Frames from query to key, of any sign and shape.
        local_frames: Distance up to which all frames are in.
        restart_frames: Length of a block; None is no restart.

    Source: Li et al. 2019, section 4.2 and figure 4; the restart here counts from the query.
    """
    remainder = distance.abs() if restart_frames is None else distance.abs() % restart_frames
    power = remainder & (remainder - 1).clamp(min=0) == 0
    return power | (remainder <= local_frames)


def offsets(*, before: int, after: int, local_frames: int, restart_frames: int | None) -> list[int]:
    """Distances i - j in the pattern, for keys up to `before` and `after` frames away.

    Raises:
        ValueError: With a restart an exported program would hold tens of thousands of them.
    """
    if torch.compiler.is_exporting() and restart_frames is not None:
        raise ValueError(
            "expected no model.attention.restart_frames to export, since all distances are written "
            f"out, found {restart_frames}; train without it"
        )
    if torch.compiler.is_exporting():
        before, after = _EXPORTED_FRAMES, _EXPORTED_FRAMES
    farthest = max(before, after)
    period = restart_frames or farthest + 1
    powers = {1 << bit for bit in range(period.bit_length())}
    block = sorted(frames for frames in powers | {*range(local_frames + 1)} if frames < period)
    far = [first + frames for first in range(0, farthest + 1, period) for frames in block]
    return [-frames for frames in far if 0 < frames <= after] + [
        frames for frames in far if frames <= before
    ]
