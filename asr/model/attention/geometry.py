"""Where the queries and keys of a block are, and which of them may attend."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from asr.model.attention.base import Mode
from asr.model.attention.columns import Window
from asr.model.attention.masks import allowed_by_mode, penalty, within
from asr.model.positions import sinusoids

# Pairs of a block up to which its geometry is kept for the next layers and chunks.
_KEPT_PAIRS = 1 << 18


class Rotation(NamedTuple):
    """Factors (time, width) of [b | a] and of [a | b]; see RelativePositions."""

    sine: Tensor
    cosine: Tensor


class Geometry:
    """The frames of queries and keys, counted from the same one.

    Args:
        query_frames: (time,), or (1,) for all queries alike.
        key_frames: (column,).
        allowed: (time, column) bool; None is everywhere.
    """

    def __init__(self, query_frames: Tensor, key_frames: Tensor, allowed: Tensor | None) -> None:
        self.query_frames, self.key_frames = query_frames, key_frames
        self.penalty = None if allowed is None else penalty(allowed).unsqueeze(0)
        """What forbids pairs: (1, time, column) float32."""
        self._rotations: dict[tuple[int, torch.dtype], tuple[Rotation, Tensor]] = {}

    @property
    def distance(self) -> Tensor:
        """Frames from each key to each query, i - j: (time, column)."""
        return self.query_frames.unsqueeze(1) - self.key_frames

    def rotation(self, width: int, dtype: torch.dtype) -> tuple[Rotation, Tensor]:
        """How queries (time, width) are rotated, and the sinusoids of the keys (column, width)."""
        if _is_compiling():
            return self._rotation(width, dtype)
        key = (width, dtype)
        if key not in self._rotations:
            # Tensors of inference mode could not be used in training.
            with torch.inference_mode(mode=False):
                self._rotations[key] = self._rotation(width, dtype)
        return self._rotations[key]

    def _rotation(self, width: int, dtype: torch.dtype) -> tuple[Rotation, Tensor]:
        sine, cosine = sinusoids(self.query_frames, width).to(dtype).chunk(2, dim=1)
        rotation = Rotation(torch.cat([sine, sine], dim=1), torch.cat([-cosine, cosine], dim=1))
        return rotation, sinusoids(self.key_frames, width).to(dtype)


def window_geometry(
    window: Window,
    *,
    mode: Mode,
    before: int | None,
    after: int | None,
    dilation: int,
    device: torch.device,
) -> Geometry:
    """The geometry of every block of a window, whose frames are `dilation` frames apart.

    Args:
        window: The blocks.
        mode: Which frames a frame may attend to, in steps of the dilation.
        before: Reach towards the past, in steps of the dilation; None is no limit.
        after: Reach towards the future.
        dilation: Frames of a step.
        device: Where the tensors are wanted.

    Returns:
        The geometry; a small one is made once.
    """
    if _is_compiling() or window.rows * window.columns > _KEPT_PAIRS:
        return _make(window, mode, (before, after), dilation, device)
    return _kept(window, mode, (before, after), dilation, device)


def _is_compiling() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def _make(
    window: Window,
    mode: Mode,
    reach: tuple[int | None, int | None],
    dilation: int,
    device: torch.device,
) -> Geometry:
    queries, keys = window.query_frames(device), window.key_frames(device)
    allowed = None
    if mode.kind != "offline" or reach != (None, None):
        rows = queries.unsqueeze(1)
        allowed = allowed_by_mode(mode, rows, keys) & within(*reach, rows - keys)
    return Geometry(queries * dilation, keys * dilation, allowed)


@lru_cache(maxsize=64)
def _kept(
    window: Window,
    mode: Mode,
    reach: tuple[int | None, int | None],
    dilation: int,
    device: torch.device,
) -> Geometry:
    with torch.inference_mode(mode=False):
        return _make(window, mode, reach, dilation, device)
