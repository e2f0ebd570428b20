"""Shapes can be right and learning wrong: a small model must overfit eight utterances."""

import os
from pathlib import Path

import pytest

import asr
from asr.config import load_config
from asr.data.corpora import CORPORA
from asr.data.corpora.synthetic.corpus import generate
from asr.data.manifest import read_manifest, write_manifest
from asr.scoring.report import score
from asr.tokens.tokenizer import train_tokenizer
from asr.training.run import train

_UTTERANCES = 8
_LONGEST_SECONDS = 6.0
_CONFIG = """
[data]
train = "train.jsonl"
validation = "train.jsonl"
tokenizer = "tokenizer.model"
batch_seconds = 24.0
workers = 0
buckets = 1

[features]

[augmentation]

[model]
encoder = "conformer"
width = 96
layers = 3
heads = 4
kernel_frames = 15
dropout = 0.0
norm = "layer"

[model.subsampling]
factor = 4
channels = 16

[model.attention]
kind = "transformer_xl"

[training]
epochs = 100
learning_rate = 3e-3
weight_decay = 0.0
gradient_clip_norm = 1.0
schedule = "cosine"
warmup_steps = 30
averaging = "none"
validate_every_epochs = 1000
memory_probe = false
"""


@pytest.fixture(params=["real", "synthetic"])
def eight_utterances(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Manifest of eight short utterances."""
    if request.param == "real":
        corpora = os.environ.get("ATTUNE_CORPORA")
        if not corpora:
            pytest.skip("real speech: set ATTUNE_CORPORA to a folder that holds LibriSpeech")
        root, split = Path(corpora), "dev-mp3"
    else:
        root, split = tmp_path / "synthetic", "synthetic-dev"
        generate(root, train_seconds=60.0, dev_seconds=60.0, test_seconds=60.0, jobs=1)
    CORPORA["librispeech"].prepare(root, tmp_path, splits=[split], jobs=2)
    utterances = read_manifest(tmp_path / f"{split}.jsonl")
    short = [u for u in utterances if u.duration_seconds <= _LONGEST_SECONDS][:_UTTERANCES]
    assert len(short) == _UTTERANCES
    write_manifest(tmp_path / "train.jsonl", short)
    return tmp_path / "train.jsonl"


@pytest.mark.slow
def test_eight_utterances_are_overfitted_to_wer_0(eight_utterances: Path) -> None:
    folder = eight_utterances.parent
    utterances = read_manifest(eight_utterances)
    texts = [str(utterance.text) for utterance in utterances]
    train_tokenizer(texts, vocab_size=None, kind="char").save(folder / "tokenizer.model")
    (folder / "config.toml").write_text(_CONFIG)
    train(load_config(folder / "config.toml"), folder / "exp")
    hypotheses = asr.load(folder / "exp").transcribe([u.audio_filepath for u in utterances])
    report = score(utterances, {u.id: h.text for u, h in zip(utterances, hypotheses, strict=True)})
    assert report.words.counts.errors == 0
