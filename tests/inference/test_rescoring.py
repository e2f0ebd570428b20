from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.ctc import ctc_losses
from asr.data.manifest import Utterance
from asr.inference.acoustic_model import Posteriors
from asr.inference.audio_input import AudioInput
from asr.inference.long_recordings import LongformConfig
from asr.inference.rescoring import IMPOSSIBLE, RescoredTexts, text_log_probs
from asr.recognizer import Recognizer
from tests.conftest import NoiseMaker

RATE_HZ = 16000


def _scores(
    recognizer: Recognizer,
    samples: NDArray[np.float32],
    texts: list[str],
    longform: LongformConfig | None = None,
) -> list[float]:
    [found] = _rescored(recognizer, [(samples, RATE_HZ)], [texts], longform=longform)
    assert found.error is None
    return list(found.log_probs)


def _rescored(
    recognizer: Recognizer,
    inputs: list[AudioInput],
    texts: list[list[str]],
    *,
    batch_seconds: float = 60.0,
    longform: LongformConfig | None = None,
) -> list[RescoredTexts]:
    """The scores in the order of the inputs."""
    found = text_log_probs(
        inputs,
        texts,
        acoustic_model=recognizer.acoustic_model,
        tokenizer=recognizer.tokenizer,
        batch_seconds=batch_seconds,
        longform=longform,
    )
    return sorted(found, key=lambda each: each.index)


def test_scores_are_those_of_ctc(recognizer: Recognizer, noise: NoiseMaker) -> None:
    samples = noise(3.0, seed=3)
    texts = ["LAZY DOG", "", "THE FOX", *(["DOG"] * 20)]
    found = _scores(recognizer, samples, texts)
    posteriors = recognizer.acoustic_model.posteriors([torch.from_numpy(samples)])
    for text, score in zip(texts, found, strict=True):
        labels = torch.tensor([recognizer.tokenizer.encode(text)], dtype=torch.int64)
        length = torch.tensor([labels.shape[1]])
        [loss] = ctc_losses(posteriors.log_probs, posteriors.lengths, labels, length)
        assert score == pytest.approx(-loss.item(), rel=1e-5)


def test_what_cannot_be_said_scores_least(recognizer: Recognizer, noise: NoiseMaker) -> None:
    scores = _scores(recognizer, noise(0.5), ["DOG", "DOG 7", "QUICK BROWN FOX " * 9])
    assert scores[0] > scores[1] == scores[2] == IMPOSSIBLE


def test_windows_cover_a_long_recording(recognizer: Recognizer, noise: NoiseMaker) -> None:
    audio = np.tile(noise(6.0, seed=5), 4)
    config = LongformConfig(limit_seconds=8.0, window_seconds=8.0, context_seconds=3.0)
    [whole] = _scores(recognizer, audio, ["QUICK FOX"])
    [parts] = _scores(recognizer, audio, ["QUICK FOX"], config)
    assert parts == pytest.approx(whole, rel=0.05)


def test_too_short_for_a_frame(recognizer: Recognizer, noise: NoiseMaker) -> None:
    assert _scores(recognizer, noise(0.01), ["DOG", ""]) == [IMPOSSIBLE, 0.0]


def test_batches_equal_one_by_one(
    recognizer: Recognizer, noise: NoiseMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    posteriors = recognizer.acoustic_model.posteriors

    def counted(waveforms: Sequence[torch.Tensor]) -> Posteriors:
        sizes.append(len(waveforms))
        return posteriors(waveforms)

    monkeypatch.setattr(recognizer.acoustic_model, "posteriors", counted)
    # The last one is long: windows of 4 s.
    lengths = [1.0, 3.0, 0.01, 2.2, 3.5, 9.0]
    inputs: list[AudioInput] = [
        (noise(seconds, seed=seed), RATE_HZ) for seed, seconds in enumerate(lengths)
    ]
    texts = [["LAZY DOG", "DOG"], ["THE FOX"], ["DOG", ""], ["A", "FOX"], ["DOG"], ["FOX OVER"]]
    config = LongformConfig(limit_seconds=5.0, window_seconds=4.0, context_seconds=1.0)
    together = _rescored(recognizer, inputs, texts, batch_seconds=20.0, longform=config)
    assert max(sizes) == 5
    for item, some, found in zip(inputs, texts, together, strict=True):
        [alone] = _rescored(recognizer, [item], [some], batch_seconds=0.1, longform=config)
        assert found.log_probs == pytest.approx(alone.log_probs, rel=1e-4)
    assert sum(sizes) > 2 * len(inputs)


def test_a_broken_recording_fails_alone(
    recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but nothing more")
    broken = Utterance(id="b", audio_filepath=tmp_path / "broken.wav", duration_seconds=1.0)
    long = Utterance(id="l", audio_filepath=tmp_path / "broken.wav", duration_seconds=99.0)
    inputs: list[AudioInput] = [broken, (noise(1.0), RATE_HZ), tmp_path / "none.wav", long]
    first, second, third, fourth = _rescored(recognizer, inputs, [["DOG"]] * 4)
    for failed in (first, third, fourth):
        assert failed.error is not None
        assert failed.log_probs == ()
    assert second.error is None
    assert len(second.log_probs) == 1


def test_what_the_model_raises_is_no_fault_of_a_recording(
    recognizer: Recognizer, noise: NoiseMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(waveforms: Sequence[torch.Tensor]) -> Posteriors:
        raise ValueError("the model")

    monkeypatch.setattr(recognizer.acoustic_model, "posteriors", broken)
    config = LongformConfig(limit_seconds=2.0, window_seconds=2.0, context_seconds=0.5)
    for seconds in (1.0, 3.0):
        with pytest.raises(ValueError, match="the model"):
            _scores(recognizer, noise(seconds), ["DOG"], config)
