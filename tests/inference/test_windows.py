from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.inference.long_recordings import LongformConfig, cut_windows

RATE_HZ = 100
FRAME_SAMPLES = 7
# Samples that one frame of the stub encoder sees to either side of its own, in frames.
REACH_FRAMES = 3
CONFIG = LongformConfig(limit_seconds=12.0, window_seconds=10.0, context_seconds=1.0)


def encode(samples: Tensor) -> Tensor:
    """Frames (time,) that each see only `REACH_FRAMES` frames to either side."""
    frames = samples.unfold(0, FRAME_SAMPLES, FRAME_SAMPLES)
    # (time, sample)
    own = (frames * torch.arange(1, FRAME_SAMPLES + 1)).sum(dim=1)
    padded = torch.nn.functional.pad(own, (REACH_FRAMES, REACH_FRAMES))
    return padded.unfold(0, 2 * REACH_FRAMES + 1, 1).max(dim=1).values


def in_blocks(samples: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def noise(samples: int) -> Tensor:
    return torch.randint(
        -1000, 1000, (samples,), generator=torch.Generator().manual_seed(0)
    ).float()


@pytest.mark.parametrize("block_samples", [3, 77, 5000])
@pytest.mark.parametrize(
    "samples", [0, 5, 1200, 1201, 1207, 1764, 1765, 1771, 2000, 2570, 2571, 2578, 9999]
)
def test_joined_windows_equal_one_pass(samples: int, block_samples: int) -> None:
    audio = noise(samples)
    windows = cut_windows(
        in_blocks(audio, block_samples), CONFIG, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES
    )
    parts = []
    for window in windows:
        if len(window.samples) < FRAME_SAMPLES:
            continue
        frames = encode(window.samples)
        parts.append(frames[window.kept(len(frames))])
    if samples < FRAME_SAMPLES:
        assert parts == []
    else:
        assert torch.equal(torch.cat(parts), encode(audio))
        assert len(parts) == 1 or samples > 1200


def test_audio_up_to_the_limit_is_one_window() -> None:
    windows = list(
        cut_windows(
            in_blocks(noise(1200), 50), CONFIG, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES
        )
    )
    assert [len(window.samples) for window in windows] == [1200]


def test_windows_keep_their_context() -> None:
    windows = list(
        cut_windows(
            in_blocks(noise(9999), 50), CONFIG, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES
        )
    )
    context_frames = 15  # 1 s in frames of 7 samples, rounded up
    assert [window.first_frame for window in windows] == [0] + [context_frames] * (len(windows) - 1)
    for window in windows[:-1]:
        assert window.stop_frame is not None
        assert len(window.samples) // FRAME_SAMPLES - window.stop_frame == context_frames


def test_too_little_context_for_the_encoder_is_an_error() -> None:
    window = next(
        iter(
            cut_windows(
                in_blocks(noise(9999), 50), CONFIG, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES
            )
        )
    )
    assert window.stop_frame is not None
    with pytest.raises(ValueError, match="raise context_seconds"):
        window.kept(window.stop_frame - 1)


def test_memory_is_bounded() -> None:
    """Blocks are read only as windows need them, and no window exceeds its length."""
    read_samples = 0

    def blocks() -> Iterator[Tensor]:
        nonlocal read_samples
        for _ in range(6000):
            read_samples += 100
            yield torch.zeros(100)

    limit = int(CONFIG.limit_seconds * RATE_HZ)
    passed_samples = 0
    for window in cut_windows(blocks(), CONFIG, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES):
        assert len(window.samples) <= 1000 + FRAME_SAMPLES
        if window.stop_frame is not None:
            passed_samples += (window.stop_frame - window.first_frame) * FRAME_SAMPLES
            # Ahead of what is kept: the right context and one block, before that the limit.
            assert read_samples - passed_samples <= limit + 100
    assert read_samples == 600_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_seconds": 6.0, "context_seconds": 3.0}, "above twice context_seconds"),
        ({"limit_seconds": 15.0}, "limit_seconds >= window_seconds"),
        ({"context_seconds": 0.0}, "context_seconds"),
        ({"window_seconds": -1.0}, "window_seconds"),
        ({"limit_seconds": 0.0}, "limit_seconds"),
        ({"memory_bytes": 0}, "memory_bytes"),
        ({"method": "halves"}, "method"),
    ],
)
def test_config_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LongformConfig(**settings)


def test_windows_hardly_longer_than_their_context_end() -> None:
    config = LongformConfig(limit_seconds=3.02, window_seconds=3.02, context_seconds=1.5)
    windows = list(
        cut_windows(iter([noise(1000)]), config, rate_hz=RATE_HZ, frame_samples=FRAME_SAMPLES)
    )
    assert len(windows) <= 1000 / FRAME_SAMPLES


def test_windows_of_the_documentation() -> None:
    config = LongformConfig()
    spans = (config.limit_seconds, config.window_seconds, config.context_seconds)
    assert spans == (40.0, 20.0, 1.5)
