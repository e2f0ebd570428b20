import builtins
import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.data.audio import read_audio
from asr.inference.long_recordings import AudioWindow, LongformConfig, cut_at_pauses
from asr.inference.voice_activity import SileroDetector

RATE_HZ = 100
FRAME_SAMPLES = 7
LOOKAHEAD_SAMPLES = 9
# 100 frames at most.
CONFIG = LongformConfig(window_seconds=7.0, context_seconds=0.1)


class Loudness:
    """Speech is where samples are positive, and its probability the largest of a stretch."""

    stretch_samples = 5

    def __init__(self) -> None:
        self.pending = torch.empty(0)

    def accept(self, block: Tensor) -> list[float]:
        joined = torch.cat([self.pending, block])
        whole = len(joined) // 5 * 5
        self.pending = joined[whole:]
        return joined[:whole].view(-1, 5).amax(dim=1).tolist()


def encode(samples: Tensor) -> Tensor:
    """Frames (time,), each a sum over its own samples and those after it."""
    if len(samples) < FRAME_SAMPLES + LOOKAHEAD_SAMPLES:
        return torch.zeros(0)
    seen = samples.unfold(0, FRAME_SAMPLES + LOOKAHEAD_SAMPLES, FRAME_SAMPLES)
    return seen.sum(dim=1)


def in_blocks(samples: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def cut(samples: Tensor, *, block_samples: int = 50) -> list[AudioWindow]:
    return list(
        cut_at_pauses(
            in_blocks(samples, block_samples),
            CONFIG,
            Loudness(),
            rate_hz=RATE_HZ,
            frame_samples=FRAME_SAMPLES,
            lookahead_samples=LOOKAHEAD_SAMPLES,
        )
    )


def ends(windows: list[AudioWindow]) -> list[int]:
    """Where the windows but the last end, in samples."""
    frames = [window.stop_frame or 0 for window in windows[:-1]]
    return [total * FRAME_SAMPLES for total in accumulate(frames)]


def speech(samples: int, *pauses: tuple[int, int]) -> Tensor:
    """Sure speech with pauses from one sample to another."""
    found = torch.full((samples,), 0.9)
    for start, end in pauses:
        found[start:end] = 0.1
    return found


@pytest.mark.parametrize("block_samples", [3, 50, 5000])
@pytest.mark.parametrize("samples", [0, 5, 16, 700, 709, 710, 1409, 5000])
def test_joined_stretches_are_the_whole(samples: int, block_samples: int) -> None:
    audio = torch.rand(samples, generator=torch.Generator().manual_seed(samples))
    parts = []
    for window in cut(audio, block_samples=block_samples):
        assert len(window.samples) <= 100 * FRAME_SAMPLES + LOOKAHEAD_SAMPLES
        frames = encode(window.samples)
        parts.append(frames[window.kept(len(frames))])
    torch.testing.assert_close(torch.cat(parts), encode(audio))
    assert (len(parts) > 1) == (samples > 709)


def test_cuts_lie_in_the_longest_pause_of_the_second_half() -> None:
    # Sought in 350 .. 700, then from 497 on in 847 .. 1197.
    audio = speech(1500, (100, 300), (380, 410), (470, 525), (600, 650), (900, 910), (1000, 1100))
    assert ends(cut(audio)) == [497 // 7 * 7, 1050 // 7 * 7]


def test_of_equal_pauses_the_last_is_taken() -> None:
    assert ends(cut(speech(800, (400, 420), (500, 520), (600, 620)))) == [610 // 7 * 7]


def test_silence_is_cut_in_its_middle() -> None:
    assert ends(cut(torch.zeros(1000))) == [525]


def test_speech_without_a_pause_is_cut_where_it_is_least_probable() -> None:
    audio = speech(800)
    audio[555:560] = 0.6
    assert ends(cut(audio)) == [557 // 7 * 7]


def test_a_window_of_less_than_a_stretch() -> None:
    config = LongformConfig(window_seconds=0.08, context_seconds=0.01)
    windows = list(
        cut_at_pauses(
            [speech(100)],
            config,
            Loudness(),
            rate_hz=RATE_HZ,
            frame_samples=1,
            lookahead_samples=0,
        )
    )
    assert sum(window.stop_frame or len(window.samples) for window in windows) == 100
    assert all(1 <= len(window.samples) <= 8 for window in windows)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_the_detector_takes_any_blocks_and_keeps_threads(rate_hz: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detectors = [SileroDetector(rate_hz=rate_hz) for _ in range(2)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    audio = 0.1 * torch.randn(rate_hz, generator=torch.Generator().manual_seed(0))
    whole = detectors[0].accept(audio)
    parts = [each for block in in_blocks(audio, 333) for each in detectors[1].accept(block)]
    assert len(whole) == 31
    assert parts == pytest.approx(whole, abs=1e-4)
    # Noise is no speech.
    assert max(whole) < 0.5


def test_other_rates_have_no_detector() -> None:
    with pytest.raises(ValueError, match=r"among \[8000, 16000\] Hz to find pauses, found 11025"):
        SileroDetector(rate_hz=11025)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **settings: Any) -> Any:  # noqa: ANN401
        if name == "silero_vad":
            raise ModuleNotFoundError(name)
        return original(name, *args, **settings)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FileNotFoundError, match=r"run: tools/setup\.sh vad"):
        SileroDetector(rate_hz=16000)


def test_real_speech_is_cut_between_words() -> None:
    folder = os.environ.get("ATTUNE_CORPORA")
    if not folder:
        pytest.skip("ATTUNE_CORPORA is not set")
    audio = read_audio(Path(folder, "longform", "26-495.ogg"), duration_seconds=120.0)
    windows = list(
        cut_at_pauses(
            in_blocks(audio, 16000),
            LongformConfig(),
            SileroDetector(rate_hz=16000),
            rate_hz=16000,
            frame_samples=640,
            lookahead_samples=720,
        )
    )
    assert len(windows) >= 4
    place, loudness = 0, audio.square().mean()
    for window in windows[:-1]:
        assert window.stop_frame is not None
        assert window.stop_frame * 640 <= 30 * 16000
        place += window.stop_frame * 640
        # A tenth of a second around the cut is far below the mean power.
        assert audio[place - 800 : place + 800].square().mean() < 0.05 * loudness


def test_what_is_more_probably_speech_is_speech() -> None:
    audio = torch.full((800,), 0.51)
    audio[600:620] = 0.49
    assert ends(cut(audio)) == [610 // 7 * 7]
