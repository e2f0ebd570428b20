"""Language models through the training that recognisers go through."""

import csv
import random
from pathlib import Path

import pytest
import torch

from asr.config import LanguageModelExperimentConfig, load_config_as
from asr.data.text_corpus import read_text_corpus
from asr.lm.load import load_language_model
from asr.lm.neural import NeuralLanguageModel
from asr.model.weights import read_weights
from asr.tokens.tokenizer import Tokenizer, train_tokenizer
from asr.training.language_model import train_language_model

_CONFIG = """
[data]
train = "train.txt"
validation = "validation.txt"
tokenizer = "tokens"
segment_tokens = 16
batch_tokens = 64

[model]
width = 32
layers = 1
heads = 2
dropout = 0.1

[model.attention]
kind = "transformer_xl"

[training]
epochs = 4
learning_rate = 1e-2
weight_decay = 0.0
gradient_clip_norm = 1.0
schedule = "noam"
warmup_steps = 10
averaging = "ema"
ema_decay = 0.9
accelerator = "cpu"
threads = 1
checkpoint_every_seconds = 0
log_every_steps = 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, letters: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("text")
    words, chance = ["the", "quick", "brown", "fox"], random.Random(0)
    for name, lines in (("train", 120), ("validation", 20)):
        # After each word comes the next one of the list, so that there is something to learn.
        first = [chance.randrange(4) for _ in range(lines)]
        text = [" ".join(words[(start + n) % 4] for n in range(5)) for start in first]
        (folder / f"{name}.txt").write_text("\n".join([*text, "über"]))
    letters.save(folder / "tokens" / "tokenizer.model")
    (folder / "config.toml").write_text(_CONFIG)
    return folder


def _config(folder: Path, *overrides: str) -> LanguageModelExperimentConfig:
    return load_config_as(LanguageModelExperimentConfig, folder / "config.toml", overrides)


def test_learns_and_is_loaded(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = train_language_model(_config(folder), tmp_path / "lm")
    assert outcome.signal is None
    assert "1 of 121 sentences are left out: the tokenizer lacks" in caplog.text
    with (tmp_path / "lm" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    validated = [float(row["validation_loss"]) for row in rows if row["validation_loss"]]
    assert float(next(row["loss"] for row in rows if row["loss"])) > 2
    assert validated[-1] < 0.6
    assert any(float(row["tokens_per_second"] or 0) > 0 for row in rows)
    model = load_language_model(tmp_path / "lm")
    assert isinstance(model, NeuralLanguageModel)
    corpus = read_text_corpus([folder / "validation.txt"], model.tokenizer)
    likely = model.sentence_log_probs(corpus.sentences)
    backwards = model.sentence_log_probs([each[::-1].copy() for each in corpus.sentences])
    assert (likely > backwards + 20).all()
    tokens = corpus.tokens + len(corpus.sentences)
    score = model.stream_log_prob(corpus.sentences, segment_tokens=16, memory_tokens=0)
    assert -score / tokens == pytest.approx(validated[-1], rel=0.1)
    assert model.scorer().start(3).select(torch.tensor([0])) is not None
    train_tokenizer(["other"], vocab_size=None, kind="char").save(tmp_path / "lm")
    with pytest.raises(ValueError, match=f"sha256 {model.tokenizer.digest}, found"):
        load_language_model(tmp_path / "lm")


@pytest.mark.slow
def test_resumes_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    train_language_model(_config(folder, "training.epochs=3"), tmp_path / "whole")
    train_language_model(_config(folder, "training.epochs=1"), tmp_path / "parts")
    config = _config(folder, "training.epochs=3")
    train_language_model(config, tmp_path / "parts", resume=True)
    whole, parts = (
        read_weights(tmp_path / name / "model.safetensors") for name in ("whole", "parts")
    )
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_validation_text_without_a_segment_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("the fox")
    config = _config(folder, f"data.validation={tmp_path / 'short.txt'}")
    with pytest.raises(ValueError, match="expected validation text for a batch on each of 1 proc"):
        train_language_model(config, tmp_path / "exp")


def test_chunks_are_for_recognisers(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.streaming: expected a known key"):
        _config(folder, "training.streaming.offline_probability=0.5")
