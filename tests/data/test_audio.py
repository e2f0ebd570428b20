import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.data.audio import audio_blocks, audio_info, read_audio, validate_audio
from asr.data.audio_containers import AudioError
from tests.data.audio_files import FORMATS, tone, write


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_all_its_samples(tmp_path: Path, suffix: str) -> None:
    samples = tone(1.234, 16000)
    path = write(tmp_path / f"a{suffix}", samples)
    audio = read_audio(path)
    assert audio.shape == (19744,)
    assert audio.dtype == torch.float32
    error = (audio - torch.from_numpy(samples[:, 0]).float()).square().mean().sqrt()
    assert error < (1e-4 if suffix in {".flac", ".wav"} else 0.05)
    assert audio_info(path) == validate_audio(path)
    assert audio_info(path).duration_seconds == pytest.approx(1.234)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_other_rates_and_stereo_become_mono_at_the_wanted_rate(
    tmp_path: Path, rate_hz: int
) -> None:
    path = write(tmp_path / "a.wav", tone(0.5, rate_hz, channels=2), rate_hz)
    audio = read_audio(path)
    assert audio.shape == (8000,)
    # The mean of channels of 0.4 and 0.2: 0.3, away from the edges.
    expected = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 16000)
    assert (audio - expected)[500:-500].square().mean().sqrt() < 0.02
    assert audio_info(path).channels == 2
    assert audio_info(path).sample_rate_hz == rate_hz


def test_length_after_resampling_is_exact_where_float32_is_not(tmp_path: Path) -> None:
    frames = 44100 * 60 + 1
    path = write(tmp_path / "a.flac", np.zeros((frames, 1)), 44100)
    assert read_audio(path).shape == (60 * 16000 + 1,)


def test_stretch_is_cut_out_and_a_rounded_end_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(1.0, 16000))
    whole = read_audio(path)
    stretch = read_audio(path, offset_seconds=0.25, duration_seconds=0.5)
    torch.testing.assert_close(stretch, whole[4000:12000], rtol=0, atol=0)
    rest = read_audio(path, offset_seconds=0.25, duration_seconds=0.755)
    info = validate_audio(path, offset_seconds=0.25, duration_seconds=0.755)
    assert info.duration_seconds == 0.75
    torch.testing.assert_close(rest, whole[4000:], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("offset_seconds", "duration_seconds"), [(0.5, 0.6), (1.0, None), (-0.1, 0.5), (0.2, 0.0)]
)
def test_stretch_outside_of_the_file_is_refused(
    tmp_path: Path, offset_seconds: float, duration_seconds: float | None
) -> None:
    path = write(tmp_path / "a.flac", tone(1.0, 16000))
    with pytest.raises(AudioError, match=r"expected a stretch within the file's 1\.000 s"):
        read_audio(path, offset_seconds=offset_seconds, duration_seconds=duration_seconds)


@pytest.mark.parametrize("from_hz", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("block_seconds", [0.004, 0.0313, 0.4, 5.0])
def test_blocks_together_equal_the_whole(
    tmp_path: Path, from_hz: int, block_seconds: float
) -> None:
    path = write(tmp_path / "a.wav", tone(0.531, from_hz), from_hz)
    blocks = list(audio_blocks(path, sample_rate_hz=16000, block_seconds=block_seconds))
    torch.testing.assert_close(torch.cat(blocks), read_audio(path), rtol=0, atol=1e-5)
    assert all(block.numel() <= (block_seconds + 0.05) * 16000 for block in blocks)
    if block_seconds == 0.0313:
        assert len(blocks) > 10


@pytest.mark.parametrize(("duration_seconds", "samples"), [(0.6, 9600), (None, 12000)])
def test_blocks_of_a_stretch_equal_the_stretch(
    tmp_path: Path, duration_seconds: float | None, samples: int
) -> None:
    path = write(tmp_path / "a.flac", tone(1.0, 44100), 44100)
    stretch = read_audio(path, offset_seconds=0.25, duration_seconds=duration_seconds)
    blocks = list(
        audio_blocks(
            path,
            sample_rate_hz=16000,
            block_seconds=0.2,
            offset_seconds=0.25,
            duration_seconds=duration_seconds,
        )
    )
    assert len(blocks) > 2
    assert stretch.shape == (samples,)
    torch.testing.assert_close(torch.cat(blocks), stretch, rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_blocks_of_every_format_equal_the_whole(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"a{suffix}", tone(2.0, 48000), 48000)
    blocks = list(audio_blocks(path, sample_rate_hz=16000, block_seconds=0.3))
    torch.testing.assert_close(torch.cat(blocks), read_audio(path), rtol=0, atol=1e-5)
    assert not capfd.readouterr().err


def test_blocks_need_a_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, 16000))
    with pytest.raises(ValueError, match="block_seconds > 0"):
        next(audio_blocks(path, sample_rate_hz=16000, block_seconds=0.0))


def test_empty_audio_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros((0, 1)))
    with pytest.raises(AudioError, match=r"a\.wav: expected samples"):
        read_audio(path)
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"a\.wav: expected FLAC"):
        audio_info(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        read_audio(tmp_path / "gone.wav")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    samples = np.zeros((1600, 2))
    samples[800, 1] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    for check in (read_audio, validate_audio):
        with pytest.raises(AudioError, match=r"a\.wav: expected finite samples"):
            check(path)


def test_rate_without_common_divisor_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, 44101), 44101)
    for check in (read_audio, validate_audio):
        with pytest.raises(AudioError, match="expected a common sampling rate, found 44101 Hz"):
            check(path)


def test_name_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, 16000)).rename(tmp_path / "a\udcff.wav")
    with pytest.raises(AudioError, match="expected a name in UTF-8"):
        read_audio(path)


def test_real_speech_is_read_whole() -> None:
    folder = os.environ.get("ATTUNE_CORPORA")
    if not folder:
        pytest.skip("ATTUNE_CORPORA is not set")
    for pattern in ("dev-mp3/*/*/*.*", "dev-fullband/*/*/*.*"):
        paths = sorted(Path(folder, "LibriSpeech").glob(pattern))
        for path in [item for item in paths if item.suffix != ".txt"][:6]:
            info = validate_audio(path)
            assert read_audio(path).numel() == pytest.approx(info.duration_seconds * 16000)
