import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.ctc import ctc_losses
from asr.inference.long_recordings import LongformConfig
from asr.inference.rescoring import IMPOSSIBLE, text_log_probs
from asr.recognizer import Recognizer
from tests.conftest import NoiseMaker

RATE_HZ = 16000


def _scores(
    recognizer: Recognizer,
    samples: NDArray[np.float32],
    texts: list[str],
    longform: LongformConfig | None = None,
) -> list[float]:
    return text_log_probs(
        (samples, RATE_HZ),
        texts,
        acoustic_model=recognizer.acoustic_model,
        tokenizer=recognizer.tokenizer,
        longform=longform,
    )


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
