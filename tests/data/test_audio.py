import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.data.audio import AudioError, audio_blocks, audio_info, read_audio, validate_audio
from asr.data.audio_containers import check_container

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


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, fraction: float) -> None:
    path = write(tmp_path / f"a{suffix}", tone(3.0, 16000))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    for check in (read_audio, validate_audio):
        with pytest.raises(AudioError, match=r"^[^\n]*a\.[a-z0-9]+: expected [^\n]*$"):
            check(path)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus"])
def test_damage_in_the_middle_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", tone(5.0, 16000))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="restore"):
        read_audio(path)


def test_bytes_after_the_audio_do_no_harm(tmp_path: Path) -> None:
    for suffix in FORMATS:
        path = write(tmp_path / f"a{suffix}", tone(1.0, 16000))
        path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
        assert read_audio(path).shape == (16000,)


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".opus"])
def test_joined_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", tone(1.0, 16000))
    first, second = path.read_bytes(), write(path, tone(2.0, 16000)).read_bytes()
    tag = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128) if suffix == ".mp3" else b""
    for content in (first + second, first + tag + second):
        path.write_bytes(content)
        with pytest.raises(AudioError, match=r"found several .* streams one after another"):
            read_audio(path)


def test_mp3_whose_header_does_not_count_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    content = bytearray(write_mp3(path, tone(1.0, 16000), 16000, "CONSTANT"))
    frame_bytes = len(content) - len(without_header(bytes(content)))
    at = content.index(b"Info") + 12
    content[at : at + 4] = (len(content) - frame_bytes).to_bytes(4, "big")
    path.write_bytes(content)
    assert read_audio(path).shape == (16000,)


def test_cut_wav_is_refused_whatever_stands_before_its_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1.0, 16000))
    content = path.read_bytes()
    at = content.index(b"data")
    cover = b"LIST" + (40001).to_bytes(4, "little") + bytes(40002)
    path.write_bytes(content[:at] + cover + content[at:])
    assert read_audio(path).shape == (16000,)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="31900 of the 32000 bytes"):
        read_audio(path)
    soundfile.write(path, tone(1.0, 16000), 16000, format="RF64")
    assert read_audio(path).shape == (16000,)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="31900 of the 32000 bytes"):
        read_audio(path)


def test_wav_of_unknown_length_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.5, 16000))
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read_audio(path).shape == (8000,)


@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_mp3_without_length_header(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "a.mp3"
    quiet_then_loud = tone(4.0, rate_hz) * (np.arange(4 * rate_hz) > 2 * rate_hz)[:, None]
    constant = without_header(write_mp3(path, quiet_then_loud, rate_hz, "CONSTANT"))
    path.write_bytes(constant)
    # Without the header the encoder's delay and the padding stay in.
    assert 0 <= audio_info(path).duration_seconds - 4.0 < 0.2
    assert validate_audio(path) == audio_info(path)
    path.write_bytes(constant[:-50])
    with pytest.raises(AudioError, match="last frame is incomplete"):
        read_audio(path)
    path.write_bytes(constant[: len(constant) // 2] + b"?" * 5000)
    with pytest.raises(AudioError, match=r"breaks off|incomplete"):
        read_audio(path)
    path.write_bytes(without_header(write_mp3(path, quiet_then_loud, rate_hz, "VARIABLE")))
    with pytest.raises(AudioError, match="variable bit rate"):
        read_audio(path)


def test_mp3_behind_an_id3_tag(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", tone(1.0, 16000))
    tagged = b"ID3\x03\x00\x00" + bytes([0, 1, 0x20, 0]) + bytes((1 << 14) + (0x20 << 7))
    path.write_bytes(tagged + path.read_bytes())
    assert read_audio(path).shape == (16000,)
    path.write_bytes(path.read_bytes()[:-500])
    assert "bytes that the MP3 header declares" in (check_container(path).fault or "")


def test_text_renamed_to_flac_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_text("no audio at all\n" * 50)
    with pytest.raises(AudioError, match=r"a\.flac: expected FLAC, WAV, MP3 or Ogg"):
        read_audio(path)
    raw = path.rename(tmp_path / "a.raw")
    with pytest.raises(AudioError, match=r"a\.raw: expected FLAC, WAV, MP3 or Ogg"):
        read_audio(raw)


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


def test_flac_without_a_declared_length_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(0.5, 16000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="header that gives the length"):
        read_audio(path)


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
