"""Resampling block by block."""

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.transforms import Resample


def resample_blocks(blocks: Iterator[Tensor], *, from_hz: int, to_hz: int) -> Iterator[Tensor]:
    """Resample a waveform that comes in blocks.

    Each block is resampled with the filter's reach of context on both sides. `group` samples in
    give `group_out` samples out with the same filters, so a block that starts on a multiple of
    `group` gives the same samples as the whole.

    Args:
        blocks: Consecutive blocks (sample,); all but the last are a multiple of `group_samples`.
        from_hz: Their rate.
        to_hz: Rate of the result.

    Yields:
        (sample,) consecutive blocks that together equal the whole, resampled.
    """
    group, group_out = group_samples(from_hz, to_hz), group_samples(to_hz, from_hz)
    resample = _resampler(from_hz, to_hz)
    context_groups = math.ceil(resample.width / group)
    pending = torch.empty(0)
    skip_groups = 0
    for block in blocks:
        pending = torch.cat([pending, block])
        ready_groups = pending.numel() // group - context_groups
        if ready_groups <= skip_groups:
            continue
        yield resample(pending)[skip_groups * group_out : ready_groups * group_out]
        keep_from = max(0, ready_groups - context_groups)
        skip_groups = ready_groups - keep_from
        pending = pending[keep_from * group :]
    # torchaudio computes the length in float32, which is off by one from some seconds on: give it
    # a spare group, and cut exactly.
    length = -(-pending.numel() * group_out // group)
    if length > skip_groups * group_out:
        yield resample(F.pad(pending, (0, group)))[skip_groups * group_out : length]


def group_samples(rate_hz: int, other_hz: int) -> int:
    """Samples of the first rate in the shortest stretch that is whole at both rates."""
    return rate_hz // math.gcd(rate_hz, other_hz)


@functools.lru_cache(maxsize=16)
def _resampler(from_hz: int, to_hz: int) -> Resample:
    return Resample(from_hz, to_hz)
