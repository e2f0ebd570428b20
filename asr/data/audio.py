"""Reading audio files: mono float32 at one rate, whole, in part, or in blocks of bounded memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from asr.data.audio_containers import AudioError, check_container
from asr.data.json_lines import is_unicode
from asr.data.resampling import BlockResampler, check_rates, group_samples

SAMPLE_RATE_HZ = 16000
"""Rate of audio that is read, unless another is asked for."""

# One read of the decoder; a header that lies about its length then costs no memory.
_READ_FRAMES = 1 << 22
# Manifests round their seconds: a stretch may end this much after the file does.
_ROUNDING_SECONDS = 0.01
# What libsndfile says of a FLAC stream whose header leaves the length open.
_UNKNOWN_FRAMES = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What the header of an audio file declares.

    Args:
        duration_seconds: Length.
        sample_rate_hz: Rate of the file.
        channels: Number of channels, >= 1.
    """

    duration_seconds: float
    sample_rate_hz: int
    channels: int


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
    """A sound file that is read from front to back.

    soundfile seeks after every read of a seekable file, which makes the MP3 decoder start anew
    (and complain on standard error) at each block.
    """

    def seekable(self) -> bool:
        return False


def audio_info(path: Path) -> AudioInfo:
    """Read the header of an audio file.

    Args:
        path: As in `read_audio`.

    Returns:
        Length, rate and channels as declared.

    Raises:
        AudioError: The file is no audio file, is empty or cut off.
        FileNotFoundError: There is no such file.
    """
    with _opened(path) as (stream, frames):
        return _info(stream, frames)


def validate_audio(
    path: Path, *, offset_seconds: float = 0.0, duration_seconds: float | None = None
) -> AudioInfo:
    """`audio_info` of a file or a stretch, proved: decodes it in bounded memory.

    Arguments and errors are those of `read_audio`.
    """
    with _opened_stretch(path, offset_seconds, duration_seconds) as (stream, frames):
        _check_rates(path, stream.samplerate, SAMPLE_RATE_HZ)
        for _ in _mono_blocks(path, stream, frames, _READ_FRAMES):
            pass
        return _info(stream, frames)


def read_audio(
    path: Path,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    offset_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Tensor:
    """Read an audio file, or a stretch of it, as mono.

    Args:
        path: FLAC, WAV, MP3 or Ogg (Vorbis, Opus) of any common rate and number of channels.
        sample_rate_hz: Rate of the result.
        offset_seconds: Start of the stretch.
        duration_seconds: Length of the stretch; None = to the end.

    Returns:
        (sample,) float32, the mean of the channels.

    Raises:
        AudioError: The file is no audio file, is empty, cut off or damaged, holds NaN or infinite
            samples, or ends before the stretch does.
        FileNotFoundError: There is no such file.
    """
    blocks = list(
        audio_blocks(
            path,
            sample_rate_hz=sample_rate_hz,
            block_seconds=math.inf,
            offset_seconds=offset_seconds,
            duration_seconds=duration_seconds,
        )
    )
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


def audio_blocks(
    path: Path,
    *,
    sample_rate_hz: int,
    block_seconds: float,
    offset_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Iterator[Tensor]:
    """Read an audio file of any length, or a stretch of it, in bounded memory.

    Args:
        path: As in `read_audio`.
        sample_rate_hz: Rate of the result.
        block_seconds: Length of each block but the last, > 0, up to the reach of the
            resampling filter; longer ones than one read of the decoder are split.
        offset_seconds: Start of the stretch.
        duration_seconds: Length of the stretch; None = to the end.

    Yields:
        (sample,) float32, consecutive blocks that together equal `read_audio`.

    Raises:
        AudioError: As in `read_audio`; damage is found when its block is reached.
        FileNotFoundError: There is no such file.
        ValueError: `block_seconds` is not positive.
    """
    if not block_seconds > 0:
        raise ValueError(
            f"expected block_seconds > 0, found {block_seconds}; give a positive length"
        )
    with _opened_stretch(path, offset_seconds, duration_seconds) as (stream, frames):
        block_frames = max(1, round(min(block_seconds * stream.samplerate, _READ_FRAMES)))
        yield from _blocks(path, stream, frames, sample_rate_hz, block_frames=block_frames)


def _blocks(
    path: Path,
    stream: soundfile.SoundFile,
    frames: int,
    sample_rate_hz: int,
    *,
    block_frames: int,
) -> Iterator[Tensor]:
    """`frames` frames from where the stream stands, as blocks of (sample,) at the wanted rate."""
    rate_hz = stream.samplerate
    if rate_hz == sample_rate_hz:
        yield from _mono_blocks(path, stream, frames, block_frames)
        return
    group = group_samples(rate_hz, sample_rate_hz)
    blocks = _mono_blocks(path, stream, frames, max(1, round(block_frames / group)) * group)
    _check_rates(path, rate_hz, sample_rate_hz)
    yield from BlockResampler(from_hz=rate_hz, to_hz=sample_rate_hz).blocks(blocks)


def _check_rates(path: Path, from_hz: int, to_hz: int) -> None:
    try:
        check_rates(from_hz, to_hz)
    except ValueError as error:
        raise AudioError(f"{path}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """The open file and its number of frames."""
    if not path.is_file():
        raise FileNotFoundError(f"expected an audio file at {path}, found none; check the path")
    if not is_unicode(str(path)):
        raise AudioError(f"{path}: expected a name in UTF-8, found other bytes; rename the file")
    check = check_container(path)
    if check.fault:
        raise AudioError(f"{path}: expected a complete file, found {check.fault}; restore the file")
    try:
        stream = _SequentialFile(path)
    except (soundfile.SoundFileError, TypeError) as error:
        # soundfile raises TypeError for a name that ends in .raw.
        raise AudioError(
            f"{path}: expected FLAC, WAV, MP3 or Ogg audio, found something else "
            f"({_one_line(error)}); convert or remove the file"
        ) from None
    with stream:
        if stream.frames == 0:
            raise AudioError(f"{path}: expected samples, found an empty audio file; remove it")
        if stream.frames == _UNKNOWN_FRAMES:
            raise AudioError(
                f"{path}: expected a header that gives the length, found none; encode it again"
            )
        yield stream, min(stream.frames, check.frames or stream.frames)


@contextmanager
def _opened_stretch(
    path: Path, offset_seconds: float, duration_seconds: float | None
) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """The file, open at the start of a stretch, and the frames of the stretch."""
    with _opened(path) as (stream, file_frames):
        start, frames = _stretch_frames(
            path,
            rate_hz=stream.samplerate,
            file_frames=file_frames,
            offset_seconds=offset_seconds,
            duration_seconds=duration_seconds,
        )
        if start:
            stream.seek(start)
        yield stream, frames


def _info(stream: soundfile.SoundFile, frames: int) -> AudioInfo:
    return AudioInfo(
        duration_seconds=frames / stream.samplerate,
        sample_rate_hz=stream.samplerate,
        channels=stream.channels,
    )


def _stretch_frames(
    path: Path,
    *,
    rate_hz: int,
    file_frames: int,
    offset_seconds: float,
    duration_seconds: float | None,
) -> tuple[int, int]:
    """First frame and number of frames of a stretch."""
    start = round(offset_seconds * rate_hz)
    stop = file_frames
    if duration_seconds is not None:
        stop = start + round(duration_seconds * rate_hz)
        if stop <= file_frames + round(_ROUNDING_SECONDS * rate_hz):
            stop = min(stop, file_frames)
    if not 0 <= start < stop <= file_frames:
        raise AudioError(
            f"{path}: expected a stretch within the file's {file_frames / rate_hz:.3f} s, found "
            f"{start / rate_hz:.3f} s to {stop / rate_hz:.3f} s; correct offset and duration"
        )
    return start, stop - start


def _mono_blocks(
    path: Path, stream: soundfile.SoundFile, frames: int, block_frames: int
) -> Iterator[Tensor]:
    """Exactly `frames` frames, `block_frames` at a time but the last, each (sample,)."""
    read_frames = 0
    while read_frames < frames:
        wanted = min(block_frames, frames - read_frames)
        try:
            block = stream.read(wanted, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"{path}: expected {frames} frames, found damage or the file's end after at least "
                f"{read_frames} ({_one_line(error)}); restore the file"
            ) from None
        read_frames += len(block)
        # MP3 and Ogg return short without an error.
        if len(block) < wanted:
            raise AudioError(
                f"{path}: expected {frames} frames as declared, found {read_frames}: the file is "
                "cut off or damaged; restore it"
            )
        # NumPy: torch would start its own threads in each of the loader's or the validator's.
        samples = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(samples).all():
            raise AudioError(
                f"{path}: expected finite samples, found NaN or infinity; encode it again"
            )
        yield torch.from_numpy(samples)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(":") or type(error).__name__
