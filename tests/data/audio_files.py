"""Audio files for the tests, and MP3 files without their header."""

from pathlib import Path

import numpy as np
import soundfile

FORMATS = {
    ".flac": ("FLAC", "PCM_16"),
    ".wav": ("WAV", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}


def tone(seconds: float, rate_hz: int, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(7).standard_normal(time.size)
    samples = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.02 * noise
    return np.stack([samples / (channel + 1) for channel in range(channels)], axis=1)


def write(path: Path, samples: np.ndarray, rate_hz: int = 16000) -> Path:
    container, subtype = FORMATS[path.suffix]
    soundfile.write(path, samples, rate_hz, format=container, subtype=subtype)
    return path


def write_mp3(path: Path, samples: np.ndarray, rate_hz: int, mode: str) -> bytes:
    with soundfile.SoundFile(
        path, "w", rate_hz, 1, "MPEG_LAYER_III", format="MP3",
        compression_level=0.5, bitrate_mode=mode,
    ) as stream:  # fmt: skip
        stream.write(samples)
    return path.read_bytes()


def without_header(mp3: bytes) -> bytes:
    """Drop the first frame, which holds the length."""
    at = mp3.find(b"Info") if b"Info" in mp3[:60] else mp3.find(b"Xing")
    assert 0 < at < 60
    return mp3[mp3.index(mp3[:2], at) :]
