"""Long-form recognition: overlapping windows, one pass over the whole, or segments at pauses."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from itertools import groupby
from typing import Literal, TypeAlias

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.inference.acoustic_model import AcousticModel
from asr.inference.audio_input import (
    AudioInput,
    UntilError,
    duration_seconds,
    read_input_blocks,
)
from asr.inference.voice_activity import SPEECH_PROBABILITY, SileroDetector, SpeechDetector
from asr.schema import STRICT

LongformMethod: TypeAlias = Literal["windows", "whole", "pauses"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LongformConfig:
    """Settings of long-form recognition; spans are rounded to whole encoder frames."""

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
class AudioWindow:
    """Window of a recording, and which of its encoder frames are kept.

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
    """Blocks of a recording with a count of the samples passed on.

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
) -> Iterator[AudioWindow]:
    """Overlapping windows of a recording that arrives in blocks.

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
        yield AudioWindow(samples=buffer.take(limit), first_frame=0, stop_frame=None)
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
            yield AudioWindow(samples=buffer.take(length), first_frame=first, stop_frame=None)
            return
        yield AudioWindow(samples=buffer.take(length), first_frame=first, stop_frame=first + middle)
        start += middle
        buffer.drop((first + middle - min(start, context)) * frame_samples)


class BlockBuffer:
    """Buffer of the samples of consecutive blocks until they are dropped.

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


def cut_recording(
    blocks: Iterable[Tensor],
    config: LongformConfig,
    acoustic_model: AcousticModel,
    *,
    seconds: float,
) -> Iterator[AudioWindow]:
    """Windows of a recording by the configured method; a short recording is one window.

    Args:
        blocks: (sample,) consecutive stretches of any length.
        config: How.
        acoustic_model: What the windows are for.
        seconds: Length of the recording.

    Yields:
        The windows in order.

    Raises:
        FileNotFoundError: Pauses are to be found without the extra `vad`.
        ValueError: One pass would need too much memory, or there is no detector of pauses for the
            sample rate.
    """
    method = config.method if seconds > config.limit_seconds else "windows"
    yield from _METHODS[method](blocks, config, acoustic_model, seconds)


def _windows(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[AudioWindow]:
    return cut_windows(
        blocks, config, rate_hz=model.sample_rate_hz, frame_samples=model.frame_samples
    )


def _whole(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[AudioWindow]:
    frames = model.output_frames(int(seconds * model.sample_rate_hz))
    needed = model.pass_bytes(frames)
    if needed > config.memory_bytes:
        raise ValueError(
            f"expected one pass to need at most {config.memory_bytes} bytes, found about {needed} "
            f"for {frames} encoder frames ({seconds:.0f} s); cut the recording into windows or at "
            "pauses"
        )
    samples = torch.cat([torch.empty(0), *blocks])
    yield AudioWindow(samples=samples, first_frame=0, stop_frame=None)


def _pauses(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[AudioWindow]:
    return cut_at_pauses(
        blocks,
        config,
        SileroDetector(rate_hz=model.sample_rate_hz),
        rate_hz=model.sample_rate_hz,
        frame_samples=model.frame_samples,
        lookahead_samples=model.lookahead_samples,
    )


_Cut = Callable[[Iterable[Tensor], LongformConfig, AcousticModel, float], Iterator[AudioWindow]]
_METHODS: Mapping[LongformMethod, _Cut] = {
    "windows": _windows,
    "whole": _whole,
    "pauses": _pauses,
}


class _HeardBlocks:
    """Blocks of a recording, and the probabilities of speech in those passed on."""

    def __init__(self, blocks: Iterable[Tensor], detector: SpeechDetector) -> None:
        self._blocks, self._detector = blocks, detector
        self._first = 0
        self._probabilities: list[float] = []

    def __iter__(self) -> Iterator[Tensor]:
        for block in self._blocks:
            self._probabilities += self._detector.accept(block)
            yield block

    def best_cut(self, first_sample: int, stop_sample: int) -> int:
        """The sample before `stop_sample` where a cut does least harm.

        That is the middle of the longest pause, of equal ones the last; without a pause, of the
        stretch where speech is least probable. What is before `first_sample` is forgotten.
        """
        length = self._detector.stretch_samples
        first, stop = math.ceil(first_sample / length), stop_sample // length
        del self._probabilities[: first - self._first]
        self._first = first
        found = self._probabilities[: stop - first]
        if not found:
            return stop_sample
        pauses = [
            list(places)
            for speaks, places in groupby(
                range(len(found)), lambda place: found[place] >= SPEECH_PROBABILITY
            )
            if not speaks
        ]
        quietest = [min(range(len(found)), key=found.__getitem__)]
        pause = max(reversed(pauses), key=len, default=quietest)
        return int((first + pause[0] + len(pause) / 2) * length)


def cut_at_pauses(
    blocks: Iterable[Tensor],
    config: LongformConfig,
    detector: SpeechDetector,
    *,
    rate_hz: int,
    frame_samples: int,
    lookahead_samples: int,
) -> Iterator[AudioWindow]:
    """Voice-activity segmentation of a recording that arrives in blocks: segments end in pauses.

    Each stretch is as long as `window_seconds` allows and its end lies in a pause of the second
    half, or where speech is least probable. Nothing is left out: the frames of all stretches,
    joined, are on the frame grid of the whole recording. At most one stretch and one block are held
    at a time.

    Args:
        blocks: (sample,) consecutive stretches of any length.
        config: Length of a window; there is no context.
        detector: Finds speech.
        rate_hz: Sample rate of the blocks.
        frame_samples: Distance between encoder frames, in samples.
        lookahead_samples: Samples after its own `frame_samples` that an encoder frame needs.

    Yields:
        The stretches in order.
    """
    heard = _HeardBlocks(blocks, detector)
    buffer = BlockBuffer(heard)
    limit = max(1, int(config.window_seconds * rate_hz) // frame_samples)
    start = 0
    while buffer.fill(limit * frame_samples + lookahead_samples + 1):
        cut = heard.best_cut((start + limit // 2) * frame_samples, (start + limit) * frame_samples)
        frames = max(1, cut // frame_samples - start)
        kept = frames * frame_samples
        yield AudioWindow(
            samples=buffer.take(kept + lookahead_samples), first_frame=0, stop_frame=frames
        )
        buffer.drop(kept)
        start += frames
    yield AudioWindow(
        samples=buffer.take(limit * frame_samples + lookahead_samples),
        first_frame=0,
        stop_frame=None,
    )


@plain_dataclass(frozen=True, kw_only=True)
class RecordingPosteriors:
    """Log-posteriors of a whole recording.

    Args:
        log_probs: (time, vocab) float32 on the CPU, natural logarithm.
        duration_seconds: Length of the audio that was read.
    """

    log_probs: Tensor
    duration_seconds: float


def recording_posteriors(
    item: AudioInput, model: AcousticModel, config: LongformConfig
) -> RecordingPosteriors:
    """Compute log-posteriors of a recording of any length; the audio is held in stretches.

    Args:
        item: The recording.
        model: Waveforms to log-posteriors.
        config: How long audio is cut.

    Returns:
        The log-posteriors, 4 bytes a frame and label.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The recording cannot be used.
    """
    found = recording_posteriors_or_error(item, model, config)
    if not isinstance(found, RecordingPosteriors):
        raise found
    return found


def recording_posteriors_or_error(
    item: AudioInput, model: AcousticModel, config: LongformConfig
) -> RecordingPosteriors | OSError | ValueError:
    """Compute log-posteriors as `recording_posteriors` does, or say why audio cannot be used.

    Args:
        item: The recording.
        model: Waveforms to log-posteriors; what it raises is not the recording's error.
        config: How long audio is cut.

    Returns:
        The log-posteriors, or why the recording cannot be read or cut.
    """
    try:
        seconds = duration_seconds(item)
    except (OSError, ValueError) as error:
        return error
    blocks = CountedBlocks(read_input_blocks(item, sample_rate_hz=model.sample_rate_hz))
    windows = UntilError(cut_recording(blocks, config, model, seconds=seconds))
    parts = []
    for window in windows:
        posteriors = model.posteriors([window.samples])
        frames = int(posteriors.lengths)
        try:
            kept = window.kept(frames)
        except ValueError as error:
            return error
        parts.append(posteriors.log_probs[0, :frames][kept].cpu())
    if windows.error is not None:
        return windows.error
    return RecordingPosteriors(
        log_probs=torch.cat(parts), duration_seconds=blocks.samples / model.sample_rate_hz
    )
