import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import Utterance
from asr.scoring.page_audio import (
    MOST_EMBEDDED_SECONDS,
    audio_urls,
    check_embeddable,
    embedded_audio,
)


def utterance(path: Path, seconds: float = 1.0, offset_seconds: float = 0.0) -> Utterance:
    return Utterance(
        id="u", audio_filepath=path, duration_seconds=seconds, offset_seconds=offset_seconds
    )


def test_urls_are_relative_to_the_page_and_encoded(tmp_path: Path) -> None:
    paths = [tmp_path / "audio" / "a b#1?.flac", tmp_path / "pages" / "c.wav"]
    found = audio_urls(map(utterance, paths), tmp_path / "pages")
    assert found == ["../audio/a%20b%231%3F.flac", "c.wav"]


def test_the_page_s_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert audio_urls([utterance(tmp_path / "a" / "b.flac")], Path("pages")) == ["../a/b.flac"]


def test_a_stretch_of_a_file_is_embedded_as_mono_opus(tmp_path: Path) -> None:
    rate_hz = 48000
    times = np.arange(3 * rate_hz) / rate_hz
    # The second second is a tone of 440 Hz, the others are silent.
    tone = np.where((times >= 1) & (times < 2), 0.5 * np.sin(2 * np.pi * 440 * times), 0.0)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), rate_hz)
    item = utterance(tmp_path / "a.wav", seconds=0.8, offset_seconds=1.1)
    (encoded,) = embedded_audio([item])
    samples, found_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert samples.ndim == 1
    assert len(samples) / found_hz == pytest.approx(0.8, abs=0.01)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * found_hz / len(samples) == pytest.approx(440, abs=2)


def test_too_much_audio_is_refused_before_any_is_read(tmp_path: Path) -> None:
    half = utterance(tmp_path / "none.wav", seconds=MOST_EMBEDDED_SECONDS / 2)
    check_embeddable([half, half])
    with pytest.raises(ValueError, match=r"at most 6 h of audio .*, found 9\.0 h; leave out"):
        check_embeddable([half, half, half])


def test_audio_that_is_missing_cannot_be_embedded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected an audio file"):
        list(embedded_audio([utterance(tmp_path / "none.wav")]))
