"""Where somebody speaks, and long audio cut where nobody does."""

import math
import warnings
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from asr.decoding.longform import BlockBuffer, LongformConfig, Window

_RATES_HZ = (8000, 16000)
_SPEECH_PROBABILITY = 0.5


class SpeechDetector(Protocol):
    """Says how probable speech is in consecutive stretches of one recording."""

    stretch_samples: int
    """Length of a stretch."""

    def accept(self, block: Tensor) -> list[float]:
        """Take the next block (sample,); probabilities of the stretches that it completes."""
        ...


class SileroDetector:
    """The voice activity detector silero-vad, in stretches of 32 ms.

    Args:
        rate_hz: Rate of the recording.

    Raises:
        FileNotFoundError: The extra `vad` is not installed.
        ValueError: The detector has no model for the rate.
    """

    def __init__(self, *, rate_hz: int) -> None:
        if rate_hz not in _RATES_HZ:
            raise ValueError(
                f"expected a sample rate among {list(_RATES_HZ)} Hz to find pauses, found "
                f"{rate_hz}; cut the recording into windows"
            )
        threads = torch.get_num_threads()
        try:
            from silero_vad import load_silero_vad
        except ModuleNotFoundError:
            raise FileNotFoundError(
                "expected the package silero-vad to find pauses, found none; run: "
                "tools/setup.sh vad"
            ) from None
        finally:
            # The import sets one thread for the whole process.
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            # Its model comes as TorchScript.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._model = load_silero_vad()
        self._rate_hz = rate_hz
        self.stretch_samples = rate_hz * 4 // 125
        self._pending = torch.empty(0)

    @torch.inference_mode()
    def accept(self, block: Tensor) -> list[float]:
        """Take the next block; see SpeechDetector."""
        joined = torch.cat([self._pending, block])
        whole = len(joined) // self.stretch_samples * self.stretch_samples
        self._pending = joined[whole:].clone()
        stretches = joined[:whole].view(-1, self.stretch_samples)
        return [float(self._model(stretch, self._rate_hz)) for stretch in stretches]


class _HeardBlocks:
    """Passes blocks on and keeps the probabilities of speech in them."""

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
                range(len(found)), lambda place: found[place] >= _SPEECH_PROBABILITY
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
) -> Iterator[Window]:
    """Cut a recording that arrives in blocks where nobody speaks.

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
        yield Window(
            samples=buffer.take(kept + lookahead_samples), first_frame=0, stop_frame=frames
        )
        buffer.drop(kept)
        start += frames
    yield Window(
        samples=buffer.take(limit * frame_samples + lookahead_samples),
        first_frame=0,
        stop_frame=None,
    )
