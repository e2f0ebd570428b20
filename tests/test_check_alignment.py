from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import Utterance
from asr.transcripts.hypothesis import Hypothesis, Word
from tools.check_alignment import errors_milliseconds, join, read_times

RATE_HZ = 16000


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    soundfile.write(tmp_path / "a.flac", np.full(RATE_HZ, 0.25), RATE_HZ)
    (tmp_path / "1-2.words.tsv").write_text("b\tX\t0.1\t0.9\na\tONE\t0.1\t0.5\na\tTWO\t0.5\t0.8\n")
    return [
        Utterance(id=name, audio_filepath=tmp_path / "a.flac", duration_seconds=1.0, text=text)
        for name, text in (("a", "ONE TWO"), ("b", "X"))
    ]


def test_joined_times_are_shifted_by_what_comes_before(utterances: list[Utterance]) -> None:
    recording = join(utterances, rate_hz=RATE_HZ, generator=np.random.default_rng(0))
    assert recording.text == "ONE TWO X"
    pause_seconds = len(recording.samples) / RATE_HZ - 2
    assert 0.3 <= pause_seconds <= 1.5
    expected = [(0.1, 0.5), (0.5, 0.8), (1.1 + pause_seconds, 1.9 + pause_seconds)]
    assert np.allclose(recording.times_seconds, expected)
    # The pause is as loud as the beginning, which does not vary here.
    assert np.count_nonzero(recording.samples) == 2 * RATE_HZ


def test_times_of_other_words_are_refused(utterances: list[Utterance]) -> None:
    other = Utterance(
        id="a", audio_filepath=utterances[0].audio_filepath, duration_seconds=1.0, text="ONE"
    )
    with pytest.raises(ValueError, match=r"expected word times of a in a \.words\.tsv beside"):
        read_times(other)


def test_errors_are_those_of_recordings_with_the_right_text(utterances: list[Utterance]) -> None:
    generator = np.random.default_rng(0)
    recordings = [join([item], rate_hz=RATE_HZ, generator=generator) for item in utterances]
    words = (
        Word(word="ONE", start_seconds=0.11, end_seconds=0.48, confidence=1.0),
        Word(word="TWO", start_seconds=0.5, end_seconds=0.9, confidence=1.0),
    )
    found = [
        Hypothesis.of_words(words, score=0.0, duration_seconds=1.0),
        Hypothesis.of_words(words[:1], score=0.0, duration_seconds=1.0),
    ]
    errors = errors_milliseconds(recordings, found)
    assert errors == pytest.approx(np.array([[10.0, -20.0], [0.0, 100.0]]))
