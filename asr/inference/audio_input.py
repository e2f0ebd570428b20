"""Audio input: files, segments of files and samples, read whole, in blocks, or in batches ahead."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio_library import resample
from asr.data.audio import audio_blocks, audio_info, read_audio
from asr.data.manifest import Utterance
from asr.data.resampling import check_rates
from asr.data.sampler import pack_batches

Samples: TypeAlias = Tensor | NDArray[Any]
# A file, a stretch of a file, or samples in -1 .. 1 with their rate in Hz.
AudioInput: TypeAlias = str | Path | Utterance | tuple[Samples, int]

_BLOCK_SECONDS = 10.0
_BATCHES_AHEAD = 2
_READERS = 2
# More are samples in the place of channels.
_MAX_CHANNELS = 64


@dataclass(frozen=True, kw_only=True)
class ReadItem:
    """One input of a batch.

    Args:
        index: Place among the inputs.
        samples: (sample,) waveform at the asked rate, or why there is none.
    """

    index: int
    samples: Tensor | OSError | ValueError


def duration_seconds(item: AudioInput) -> float:
    """Length of an input: what the manifest or the file's header says.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file or the samples cannot be used.
    """
    if isinstance(item, Utterance):
        return item.duration_seconds
    if isinstance(item, tuple):
        samples, rate_hz = item
        return len(_recording(samples, rate_hz)) / rate_hz
    return audio_info(Path(item)).duration_seconds


def read_input(item: AudioInput, *, sample_rate_hz: int) -> Tensor:
    """Read an input whole.

    Args:
        item: The input.
        sample_rate_hz: Rate of the result.

    Returns:
        (sample,) float32, mono.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: Samples are of no floating-point type.
        ValueError: The file or the samples cannot be used.
    """
    if isinstance(item, Utterance):
        return read_audio(
            item.audio_filepath,
            sample_rate_hz=sample_rate_hz,
            offset_seconds=item.offset_seconds,
            duration_seconds=item.duration_seconds,
        )
    if isinstance(item, tuple):
        samples, rate_hz = item
        recording = _recording(samples, rate_hz)
        check_rates(rate_hz, sample_rate_hz)
        waveform: Tensor = resample(recording, rate_hz, sample_rate_hz)
        return waveform
    return read_audio(Path(item), sample_rate_hz=sample_rate_hz)


def read_input_blocks(item: AudioInput, *, sample_rate_hz: int) -> Iterator[Tensor]:
    """Read an input in blocks that together equal `read_input`; a file in bounded memory.

    Args:
        item: The input.
        sample_rate_hz: Rate of the result.

    Yields:
        (sample,) float32, consecutive blocks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file or the samples cannot be used.
    """
    if isinstance(item, Utterance):
        yield from audio_blocks(
            item.audio_filepath,
            sample_rate_hz=sample_rate_hz,
            block_seconds=_BLOCK_SECONDS,
            offset_seconds=item.offset_seconds,
            duration_seconds=item.duration_seconds,
        )
    elif isinstance(item, tuple):
        yield read_input(item, sample_rate_hz=sample_rate_hz)
    else:
        yield from audio_blocks(
            Path(item), sample_rate_hz=sample_rate_hz, block_seconds=_BLOCK_SECONDS
        )


def mono_samples(samples: Samples, rate_hz: int) -> Tensor:
    """Samples at their own rate as one channel on the CPU.

    Args:
        samples: (sample,) or (sample, channel) in -1 .. 1; there may be none.
        rate_hz: Their rate.

    Returns:
        (sample,) float32.

    Raises:
        TypeError: Samples are of no floating-point type.
        ValueError: Rate, shape or a sample cannot be used.
    """
    if rate_hz <= 0 or rate_hz != int(rate_hz):
        raise ValueError(f"expected a sample rate in whole Hz above 0, found {rate_hz}; correct it")
    waveform = torch.as_tensor(samples)
    if not waveform.is_floating_point():
        raise TypeError(
            f"expected floating-point samples in -1 .. 1, found {waveform.dtype}; divide integers "
            "by their full scale"
        )
    if waveform.dim() == 2 and waveform.shape[1] > _MAX_CHANNELS:
        raise ValueError(
            f"expected samples of shape (sample, channel), found {tuple(waveform.shape)}, of "
            f"over {_MAX_CHANNELS} channels; transpose them"
        )
    if waveform.dim() == 2 and waveform.shape[1] > 0:
        waveform = waveform.mean(dim=1)
    if waveform.dim() != 1:
        raise ValueError(
            f"expected samples of shape (sample,) or (sample, channel), found "
            f"{tuple(samples.shape)}; give one recording"
        )
    if not torch.isfinite(waveform).all():
        raise ValueError("expected finite samples, found NaN or infinity; repair the recording")
    return waveform.detach().cpu().float()


def _recording(samples: Samples, rate_hz: int) -> Tensor:
    waveform = mono_samples(samples, rate_hz)
    if len(waveform) == 0:
        raise ValueError("expected at least one sample, found none; leave the recording out")
    return waveform


_Item_co = TypeVar("_Item_co", covariant=True)


class UntilError(Generic[_Item_co]):
    """What a source gives until it fails, and why it failed.

    It keeps errors of reading and cutting audio, which are those of one recording, apart from
    errors of what is done with each item meanwhile, which are not.

    Args:
        source: Blocks or windows of one recording.
    """

    def __init__(self, source: Iterable[_Item_co]) -> None:
        self._source = source
        self.error: OSError | ValueError | None = None
        """Why the source failed; None where it came to its end."""

    def __iter__(self) -> Iterator[_Item_co]:
        items = iter(self._source)
        while True:
            try:
                item = next(items)
            except StopIteration:
                return
            except (OSError, ValueError) as error:
                self.error = error
                return
            yield item


def plan_batches(durations: Sequence[tuple[int, float]], batch_seconds: float) -> list[list[int]]:
    """Batches of inputs of similar duration, the longest first.

    Args:
        durations: Pairs of index and seconds.
        batch_seconds: Most seconds a batch, padding included; one longer input is a batch alone.

    Returns:
        Indices, one list a batch.
    """
    seconds = dict(durations)
    order = sorted(seconds, key=lambda index: (-seconds[index], index))
    return pack_batches(order, seconds, batch_seconds=batch_seconds)


def read_batches(
    inputs: Sequence[AudioInput], batches: Sequence[Sequence[int]], *, sample_rate_hz: int
) -> Iterator[list[ReadItem]]:
    """Read batches in threads, ahead of their use.

    Args:
        inputs: All inputs.
        batches: Indices of the inputs, one sequence a batch.
        sample_rate_hz: Rate of the waveforms.

    Yields:
        The batches in order; what cannot be read carries its error.
    """
    pending: deque[list[Future[ReadItem]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read-audio") as readers:
        try:
            for batch in batches:
                pending.append(
                    [
                        readers.submit(_read_item, inputs[index], index, sample_rate_hz)
                        for index in batch
                    ]
                )
                if len(pending) > _BATCHES_AHEAD:
                    yield [future.result() for future in pending.popleft()]
            while pending:
                yield [future.result() for future in pending.popleft()]
        finally:
            readers.shutdown(cancel_futures=True)


def _read_item(item: AudioInput, index: int, sample_rate_hz: int) -> ReadItem:
    try:
        return ReadItem(index=index, samples=read_input(item, sample_rate_hz=sample_rate_hz))
    except (OSError, ValueError) as error:
        return ReadItem(index=index, samples=error)
