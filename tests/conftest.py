"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.config import load_config
from asr.ctc import CtcModel, build_model
from asr.ctc.decoder import Decoder
from asr.ctc.greedy import GreedyDecoder
from asr.ctc.lexicon_beam import LexiconConfig, LexiconDecoder
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.features.base import Features
from asr.features.frontend import Frontend, build_features
from asr.features.normalisation import estimate_normalisation
from asr.recognizer import Recognizer, load
from asr.tokens.tokenizer import Tokenizer, train_tokenizer
from asr.training.checkpoint import save_weights

TINY_CONFIG = """
[data]
batch_seconds = 10.0
workers = 0
buckets = 1

[features]
mel_bins = 40

[augmentation]

[model]
encoder = "conformer"
width = 32
layers = 2
heads = 2
dropout = 0.1
kernel_frames = 7

[model.subsampling]
factor = 4
channels = 8

[model.attention]
kind = "transformer_xl"

[training]
epochs = 1
learning_rate = 1e-3
weight_decay = 0.0
gradient_clip_norm = 1.0
schedule = "noam"
warmup_steps = 10
averaging = "none"
"""


# What commands print must not depend on whose terminal or service runs the tests.
for _name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(_name, None)
os.environ["COLUMNS"] = "100"

NoiseMaker = Callable[..., NDArray[np.float32]]


def coloured_noise(seconds: float, *, seed: int = 0, rate_hz: int = 16000) -> NDArray[np.float32]:
    """Noise (sample,) whose colour changes four times a second, so that labels change."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(int(seconds * rate_hz))
    for start in range(0, len(samples), rate_hz // 4):
        part = samples[start : start + rate_hz // 4]
        width = int(generator.integers(1, 12))
        part[:] = np.convolve(part, np.ones(width) / width, mode="same")
    return (0.1 * samples).astype(np.float32)


@pytest.fixture(scope="session")
def noise() -> NoiseMaker:
    """Makes audio that the tiny experiment gives various labels to."""
    return coloured_noise


@pytest.fixture(scope="session")
def letters() -> Tokenizer:
    """A character tokenizer."""
    return train_tokenizer(
        ["the quick brown fox jumps over a lazy dog"], vocab_size=None, kind="char"
    )


@pytest.fixture(scope="session")
def tiny_experiment(tmp_path_factory: pytest.TempPathFactory, letters: Tokenizer) -> Path:
    """An experiment folder with random weights that give various labels to coloured noise."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "config.toml").write_text(TINY_CONFIG, encoding="utf-8")
    config = load_config(folder / "config.toml")
    letters.save(folder / "tokenizer.model")
    audio = torch.from_numpy(coloured_noise(30.0, seed=7)).unsqueeze(0)
    lengths = torch.tensor([audio.shape[1]])
    normalisation = estimate_normalisation(build_features(config.features)(audio, lengths).features)
    normalisation.save(folder / "normalisation.json")
    features = Frontend(config.features, normalisation)(audio, lengths)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(
            config.model, vocab_size=letters.vocab_size, feature_size=config.features.feature_size
        ).eval()
    spread_labels(model, features)
    save_weights(folder / "model.safetensors", model.state_dict())
    return folder


@torch.no_grad()
def spread_labels(model: CtcModel, features: Features) -> None:
    """Scale and shift the head so that every label is the best one of some frames."""
    frames = model.encoder(features.features, features.lengths).output.flatten(0, 1)
    frames = frames[frames.abs().sum(dim=1) > 0]
    head = model.head.projection
    head.weight.mul_(3 / (frames @ head.weight.T).std(dim=0).mean())
    head.bias.copy_(-(head.weight @ frames.mean(dim=0)))
    # The blank and the piece that begins a word.
    head.bias[[0, 2]] += 2


@pytest.fixture(scope="module", params=["greedy", "beam", "lexicon"])
def decoder(
    request: pytest.FixtureRequest, letters: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Decoder[Any]:
    """Every kind of decoder."""
    if request.param == "greedy":
        return GreedyDecoder()
    if request.param == "beam":
        return BeamSearch(BeamConfig(beam_size=4, nbest=2))
    words = ["A", "DOG", "FOX", "OVER", "THE"]
    lines = ["\\data\\", "ngram 1=7", "ngram 2=1", "", "\\1-grams:", "-99\t<s>", "-1\t</s>"]
    lines += [*(f"-1\t{word}" for word in words), "", "\\2-grams:", "-1\tA DOG"]
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    config = LexiconConfig(beam_size=100, nbest=2, lm_weight=0.1, word_score=15.0)
    return LexiconDecoder.load(path, letters, config=config)


@pytest.fixture(scope="module")
def recognizer(tiny_experiment: Path) -> Recognizer:
    return load(tiny_experiment)
