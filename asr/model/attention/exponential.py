"""The pattern of keys at exponentially growing distances."""

import torch
from torch import Tensor

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
