from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.audio import audio_info, read_audio, validate_audio
from asr.data.audio_containers import AudioError, check_container
from tests.data.audio_files import FORMATS, tone, without_header, write, write_mp3


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


def test_flac_without_a_declared_length_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(0.5, 16000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="header that gives the length"):
        read_audio(path)
