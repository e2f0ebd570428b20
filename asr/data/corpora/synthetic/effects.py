"""Recording conditions: resampling, a light room, light noise and a level for clean speech."""

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio_library import resample

Samples = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
_ROOM_CHANCE = 0.6
_REVERBERATION_TIME_SECONDS = (0.1, 0.3)
_DIRECT_TO_REVERBERANT_DB = (8.0, 18.0)
_TAIL_DELAY_SECONDS = 0.004
_SIGNAL_TO_NOISE_DB = (20.0, 35.0)
_NOISE_EXPONENT = (0.8, 2.0)
"""Power falls with frequency to this power: 1 is pink noise, 2 is brown noise."""
_LOWEST_NOISE_HZ = 50.0
_LEVEL_DB = (-30.0, -20.0)
_HIGHEST_PEAK = 0.9


def record(
    pcm: NDArray[np.int16],
    *,
    rate_hz: int,
    lead_seconds: float,
    tail_seconds: float,
    generator: np.random.Generator,
) -> Samples:
    """Make a recording of clean speech.

    Args:
        pcm: (sample,) clean speech.
        rate_hz: Its sampling rate.
        lead_seconds: Quiet to put before it.
        tail_seconds: Quiet to put after it.
        generator: Source of everything random.

    Returns:
        (sample,) at SAMPLE_RATE_HZ, within -0.9 and 0.9. Word times are shifted by the lead alone.
    """
    clean = torch.from_numpy(pcm.astype(np.float32) / 32768.0)
    speech = resample(clean, rate_hz, SAMPLE_RATE_HZ).numpy()
    quiet = (round(lead_seconds * SAMPLE_RATE_HZ), round(tail_seconds * SAMPLE_RATE_HZ))
    speech = np.pad(speech, quiet)
    if generator.random() < _ROOM_CHANCE:
        speech = _in_a_room(speech, generator)
    power = np.mean(np.square(speech))
    signal_to_noise_db = generator.uniform(*_SIGNAL_TO_NOISE_DB)
    noise = _coloured_noise(len(speech), generator)
    recording = speech + noise * np.sqrt(power * 10 ** (-signal_to_noise_db / 10))
    level = 10 ** (generator.uniform(*_LEVEL_DB) / 20) / np.sqrt(np.mean(np.square(recording)))
    gain = min(level, _HIGHEST_PEAK / np.max(np.abs(recording)))
    return np.asarray(recording * gain, dtype=np.float32)


def _in_a_room(speech: Samples, generator: np.random.Generator) -> Samples:
    """Add an exponentially decaying diffuse tail; the direct sound stays where it is."""
    decay_seconds = generator.uniform(*_REVERBERATION_TIME_SECONDS)
    direct_to_reverberant_db = generator.uniform(*_DIRECT_TO_REVERBERANT_DB)
    length_samples = round(decay_seconds * SAMPLE_RATE_HZ)
    times_seconds = np.arange(length_samples) / SAMPLE_RATE_HZ
    # 60 dB of decay within the reverberation time.
    tail = generator.standard_normal(length_samples) * 10 ** (-3 * times_seconds / decay_seconds)
    tail[times_seconds < _TAIL_DELAY_SECONDS] = 0
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.sum(np.square(tail)))
    tail[0] = 1
    size = _fast_size(len(speech) + length_samples)
    spectrum = np.fft.rfft(speech, size) * np.fft.rfft(tail, size)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(speech)], dtype=np.float32)


def _coloured_noise(length_samples: int, generator: np.random.Generator) -> Samples:
    """(sample,) noise of mean power 1 whose power falls with frequency."""
    size = _fast_size(length_samples)
    frequencies_hz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), _LOWEST_NOISE_HZ)
    exponent = generator.uniform(*_NOISE_EXPONENT)
    spectrum = np.fft.rfft(generator.standard_normal(size)) * frequencies_hz ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, size)[:length_samples]
    return np.asarray(noise / np.sqrt(np.mean(np.square(noise))), dtype=np.float32)


def _fast_size(length_samples: int) -> int:
    """The next power of two: quick for any FFT."""
    return 1 << (length_samples - 1).bit_length()
