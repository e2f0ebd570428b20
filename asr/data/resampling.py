"""Sample rate conversion block by block."""

import functools
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.audio_library import Resample

_MAX_WEIGHTS = 1 << 25


class BlockResampler:
    """Resamples a waveform that comes in blocks of any length.

    Each block is resampled with the filter's reach of context on both sides. `group` samples in
    give `group_out` samples out with the same filters, so what starts on a multiple of `group`
    gives the same samples as the whole.

    Args:
        from_hz: Rate of the blocks.
        to_hz: Rate of the result.

    Raises:
        ValueError: The filter between these rates would be too large.
    """

    def __init__(self, *, from_hz: int, to_hz: int) -> None:
        check_rates(from_hz, to_hz)
        self._group = group_samples(from_hz, to_hz)
        self._group_out = group_samples(to_hz, from_hz)
        self._resample = _resampler(from_hz, to_hz)
        self._context_groups = math.ceil(self._resample.width / self._group)
        self._pending = torch.empty(0)
        self._skip_groups = 0

    def accept(self, block: Tensor) -> Tensor:
        """Take the next block (sample,); what can be resampled by now, (sample,), maybe empty."""
        self._pending = torch.cat([self._pending, block])
        ready_groups = self._pending.numel() // self._group - self._context_groups
        if ready_groups <= self._skip_groups:
            return torch.empty(0)
        first, end = (groups * self._group_out for groups in (self._skip_groups, ready_groups))
        ready: Tensor = self._resample(self._pending)[first:end]
        keep_from = max(0, ready_groups - self._context_groups)
        self._skip_groups = ready_groups - keep_from
        self._pending = self._pending[keep_from * self._group :].clone()
        return ready

    def finish(self) -> Tensor:
        """What is left at the end, (sample,), maybe empty."""
        # torchaudio computes the length in float32, which is off by one from some seconds on: give
        # it a spare group, and cut exactly.
        length = -(-self._pending.numel() * self._group_out // self._group)
        resampled: Tensor = self._resample(F.pad(self._pending, (0, self._group)))
        return resampled[self._skip_groups * self._group_out : length]

    def blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """All blocks of a waveform, resampled; none of these is empty."""
        for block in blocks:
            resampled = self.accept(block)
            if len(resampled) > 0:
                yield resampled
        rest = self.finish()
        if len(rest) > 0:
            yield rest


def check_rates(from_hz: int, to_hz: int) -> None:
    """Raise ValueError where the filter between two rates would be too large."""
    weights = group_samples(from_hz, to_hz) * group_samples(to_hz, from_hz)
    if weights > _MAX_WEIGHTS:
        raise ValueError(
            f"expected a common sampling rate, found {from_hz} Hz, which takes a filter of "
            f"over {weights} weights to become {to_hz} Hz; convert the audio"
        )


def group_samples(rate_hz: int, other_hz: int) -> int:
    """Samples of the first rate in the shortest stretch that is whole at both rates."""
    return rate_hz // math.gcd(rate_hz, other_hz)


@functools.lru_cache(maxsize=16)
def _resampler(from_hz: int, to_hz: int) -> Resample:
    return Resample(from_hz, to_hz)
