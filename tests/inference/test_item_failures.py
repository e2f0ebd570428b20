"""One recording that cannot be used fails for itself; an error of model or search stops the run."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pytest
import soundfile

from asr.data.manifest import Utterance
from asr.inference.alignment import Aligner
from asr.inference.audio_input import UntilError
from asr.inference.long_recordings import LongformConfig
from asr.inference.streaming import ComputeTimes, stream_outcomes
from asr.recognizer import Recognizer
from tests.conftest import NoiseMaker

RATE_HZ = 16000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, noise: NoiseMaker) -> list[Utterance]:
    """Whole, damaged at its end, missing, and whole again."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in ("whole", "damaged"):
        samples = noise(12.0)
        if name == "damaged":
            samples[-1] = np.nan
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    return [
        Utterance(
            id=str(index), audio_filepath=folder / f"{name}.wav", duration_seconds=12.0, text="A"
        )
        for index, name in enumerate(["whole", "damaged", "none", "whole"])
    ]


def fail(*_: object, **__: object) -> None:
    raise ValueError("shapes do not match")


def test_until_error_keeps_why_the_source_failed() -> None:
    def source(error: Exception | None) -> Iterator[int]:
        yield from (1, 2)
        if error is not None:
            raise error

    whole = UntilError(source(None))
    assert (list(whole), whole.error) == ([1, 2], None)
    for error in (OSError("gone"), ValueError("NaN")):
        cut = UntilError(source(error))
        assert (list(cut), cut.error) == ([1, 2], error)
    with pytest.raises(TypeError):
        list(UntilError(source(TypeError("a mistake"))))
    with pytest.raises(ValueError, match="invalid literal"):
        [int("of the consumer") for _ in UntilError(source(None))]


@pytest.mark.parametrize("limit_seconds", [3.0, 40.0])
def test_alignment_goes_on_after_a_recording_that_cannot_be_read(
    recognizer: Recognizer, recordings: Sequence[Utterance], limit_seconds: float
) -> None:
    longform = LongformConfig(limit_seconds=limit_seconds, window_seconds=3.0, context_seconds=0.5)
    aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer, longform=longform)
    first, damaged, missing, last = aligner.outcomes(recordings)
    assert first.hypothesis == last.hypothesis is not None
    assert "NaN" in str(damaged.error)
    assert isinstance(missing.error, FileNotFoundError)


def test_text_fails_with_its_recording(
    recognizer: Recognizer, recordings: Sequence[Utterance]
) -> None:
    path = recordings[0].audio_filepath
    texts = [None, "!", "a" * 500, "A"]
    items = [
        Utterance(id=str(index), audio_filepath=path, duration_seconds=12.0, text=text)
        for index, text in enumerate(texts)
    ]
    outcomes = list(Aligner(recognizer.acoustic_model, recognizer.tokenizer).outcomes(items))
    messages = [str(outcome.error).split(",")[0] for outcome in outcomes]
    assert messages[:2] == [
        "expected a transcript to align",
        "expected a transcript with words",
    ]
    assert messages[2].startswith("expected at least 1000 frames for 501 labels")
    assert outcomes[3].error is None


@pytest.mark.parametrize("where", ["model", "search"])
def test_an_error_of_model_or_search_stops_the_alignment(
    recognizer: Recognizer,
    recordings: Sequence[Utterance],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    if where == "model":
        monkeypatch.setattr(recognizer.acoustic_model, "posteriors", fail)
    else:
        monkeypatch.setattr("asr.inference.alignment.align_labels", fail)
    aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer)
    with pytest.raises(ValueError, match="shapes do not match"):
        list(aligner.outcomes(recordings))


def test_streams_go_on_after_a_recording_that_cannot_be_read(
    recognizer: Recognizer, recordings: Sequence[Utterance]
) -> None:
    open_stream = partial(recognizer.stream, chunk_seconds=0.32, left_seconds=0.64)
    found = list(stream_outcomes(open_stream, recordings, times=ComputeTimes()))
    assert [outcome.index for outcome in found] == [0, 1, 2, 3]
    assert found[0].hypothesis == found[3].hypothesis is not None
    assert "NaN" in str(found[1].error)
    assert isinstance(found[2].error, FileNotFoundError)


@pytest.mark.parametrize("method", ["accept", "finish"])
def test_an_error_of_model_or_search_stops_the_streams(
    recognizer: Recognizer,
    recordings: Sequence[Utterance],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    open_stream = partial(recognizer.stream, chunk_seconds=0.32, left_seconds=0.64)
    monkeypatch.setattr(f"asr.inference.streaming.StreamBatch.{method}", fail)
    with pytest.raises(ValueError, match="shapes do not match"):
        list(stream_outcomes(open_stream, recordings, times=ComputeTimes()))
