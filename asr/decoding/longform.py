"""Long audio: overlapping windows whose kept middles join on the frame grid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass as plain_dataclass
from typing import Literal, TypeAlias

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.schema import STRICT

LongformMethod: TypeAlias = Literal["windows", "whole", "pauses"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LongformConfig:
    """How long audio is cut; spans are rounded to whole encoder frames."""

    method: LongformMethod = "windows"
    """Overlapping windows, one pass over the whole, or cuts in pauses with windows that do not
    overlap."""
    limit_seconds: float = Field(default=40.0, gt=0)
    """Audio up to this length goes through the model in one pass, in seconds."""
    window_seconds: float = Field(default=20.0, gt=0)
    """Length of a window, its context included, in seconds; of `pauses` the most."""
    context_seconds: float = Field(default=1.5, gt=0)
    """What is discarded at each inner edge of a window, in seconds; `pauses` has no context."""
    memory_bytes: int = Field(default=8 << 30, gt=0)
    """Most memory that one pass over the whole may be predicted to need, in bytes."""

    def __post_init__(self) -> None:
        if self.window_seconds <= 2 * self.context_seconds:
            raise ValueError(
                f"expected window_seconds above twice context_seconds, found {self.window_seconds} "
                f"and {self.context_seconds}; lengthen the window"
            )
        if self.limit_seconds < self.window_seconds:
            raise ValueError(
                f"expected limit_seconds >= window_seconds, found {self.limit_seconds} and "
                f"{self.window_seconds}; raise the limit"
            )


@plain_dataclass(frozen=True, kw_only=True)
class Window:
    """One stretch of audio for the model and the frames to keep of it.

    Args:
        samples: (sample,) waveform; it begins on the frame grid of the whole recording.
        first_frame: The first encoder frame of this window to keep.
        stop_frame: The first one after those kept; None keeps all to the end.
    """

    samples: Tensor
    first_frame: int
    stop_frame: int | None

    def kept(self, frames: int) -> slice:
        """Which of the window's encoder frames are kept.

        Args:
            frames: How many the encoder gave.

        Returns:
            Their stretch.

        Raises:
            ValueError: The context is shorter than what the encoder cuts off at a window's end.
        """
        if self.stop_frame is not None and frames < self.stop_frame:
            raise ValueError(
                f"expected at least {self.stop_frame} encoder frames from a window of "
                f"{self.samples.shape[0]} samples, found {frames}; raise context_seconds"
            )
        return slice(self.first_frame, self.stop_frame)


class CountedBlocks:
    """Passes blocks on and counts their samples.

    Args:
        blocks: (sample,) consecutive stretches of any length.
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[Tensor]:
        for block in self._blocks:
            self.samples += len(block)
            yield block


def cut_windows(
    blocks: Iterable[Tensor], config: LongformConfig, *, rate_hz: int, frame_samples: int
) -> Iterator[Window]:
    """Cut a recording that arrives in blocks.

    The kept frames of all windows, joined, are the frames of one pass over the whole recording. At
    most one window (before the first, `limit_seconds`) and one block are held at a time.

    Args:
        blocks: (sample,) consecutive stretches of any length.
        config: Window and context.
        rate_hz: Sample rate of the blocks.
        frame_samples: Distance between encoder frames, in samples.

    Yields:
        The windows in order; one alone when the recording is not above the limit.
    """
    buffer = BlockBuffer(blocks)
    limit = int(config.limit_seconds * rate_hz)
    if not buffer.fill(limit + 1):
        yield Window(samples=buffer.take(limit), first_frame=0, stop_frame=None)
        return

    context = -int(-config.context_seconds * rate_hz // frame_samples)
    # Rounding may leave nothing of a window hardly longer than its context.
    middle = max(1, -int(-config.window_seconds * rate_hz // frame_samples) - 2 * context)
    start = 0
    while True:
        # The first window has no left context: nothing is cut off there in one pass either.
        first = min(start, context)
        length = (first + middle + context) * frame_samples
        if not buffer.fill(length + 1):
            yield Window(samples=buffer.take(length), first_frame=first, stop_frame=None)
            return
        yield Window(samples=buffer.take(length), first_frame=first, stop_frame=first + middle)
        start += middle
        buffer.drop((first + middle - min(start, context)) * frame_samples)


class BlockBuffer:
    """Holds the samples of blocks until they are dropped.

    Args:
        blocks: (sample,) consecutive stretches of any length.
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = iter(blocks)
        self._samples = torch.empty(0)

    def fill(self, samples: int) -> bool:
        """Read until this many samples are held; whether there are so many."""
        parts = [self._samples]
        held = self._samples.shape[0]
        while held < samples:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            held += block.shape[0]
        if len(parts) > 1:
            self._samples = torch.cat(parts)
        return held >= samples

    def take(self, samples: int) -> Tensor:
        """The first samples held, as many as there are."""
        return self._samples[:samples]

    def drop(self, samples: int) -> None:
        """Forget the first samples held."""
        self._samples = self._samples[samples:]
