import numpy as np
import pytest
import torch

from asr.decoding.longform import LongformConfig
from asr.decoding.text_scorer import IMPOSSIBLE, TextScorer
from asr.model.ctc import ctc_losses
from asr.recognizer import Recognizer
from tests.conftest import NoiseMaker

RATE_HZ = 16000


def test_scores_are_those_of_ctc(recognizer: Recognizer, noise: NoiseMaker) -> None:
    samples = noise(3.0, seed=3)
    texts = ["LAZY DOG", "", "THE FOX", *(["DOG"] * 20)]
    scorer = TextScorer(recognizer.acoustic_model, recognizer.tokenizer)
    found = scorer.log_probs((samples, RATE_HZ), texts)
    posteriors = recognizer.acoustic_model.posteriors([torch.from_numpy(samples)])
    for text, score in zip(texts, found, strict=True):
        labels = torch.tensor([recognizer.tokenizer.encode(text)], dtype=torch.int64)
        length = torch.tensor([labels.shape[1]])
        [loss] = ctc_losses(posteriors.log_probs, posteriors.lengths, labels, length)
        assert score == pytest.approx(-loss.item(), rel=1e-5)


def test_what_cannot_be_said_scores_least(recognizer: Recognizer, noise: NoiseMaker) -> None:
    scorer = TextScorer(recognizer.acoustic_model, recognizer.tokenizer)
    scores = scorer.log_probs((noise(0.5), RATE_HZ), ["DOG", "DOG 7", "QUICK BROWN FOX " * 9])
    assert scores[0] > scores[1] == scores[2] == IMPOSSIBLE


def test_windows_cover_a_long_recording(recognizer: Recognizer, noise: NoiseMaker) -> None:
    audio = (np.tile(noise(6.0, seed=5), 4), RATE_HZ)
    config = LongformConfig(limit_seconds=8.0, window_seconds=8.0, context_seconds=3.0)
    model, tokenizer = recognizer.acoustic_model, recognizer.tokenizer
    [whole] = TextScorer(model, tokenizer).log_probs(audio, ["QUICK FOX"])
    [parts] = TextScorer(model, tokenizer, longform=config).log_probs(audio, ["QUICK FOX"])
    assert parts == pytest.approx(whole, rel=0.05)


def test_too_short_for_a_frame(recognizer: Recognizer, noise: NoiseMaker) -> None:
    scorer = TextScorer(recognizer.acoustic_model, recognizer.tokenizer)
    assert scorer.log_probs((noise(0.01), RATE_HZ), ["DOG", ""]) == [IMPOSSIBLE, 0.0]
