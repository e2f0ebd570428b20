"""A tiny corpus and a config that trains on it in a second, with everything random switched on."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import asr
from asr.config import ExperimentConfig, load_config
from asr.ctc import CtcModel, build_model
from asr.data.manifest import Utterance, write_manifest
from asr.model.encoders import parse_encoder
from asr.tokens.tokenizer import train_tokenizer
from asr.training.learner import Learner
from asr.training.run import train

_WORDS = ("ONE", "TWO", "FIVE", "SIX", "TEN")
_CONFIG = """
[data]
train = "train.jsonl"
validation = "validation.jsonl"
tokenizer = "tokenizer.model"
batch_seconds = 4.0
workers = 0
buckets = 2

[features]
mel_bins = 20

[augmentation]
speed_factors = [0.9, 1.0, 1.1]

[augmentation.spec_augment]
frequency_masks = 1
frequency_width_bins = 5
time_masks = 1
time_width_frames = 20
time_fraction = 0.2

[model]
encoder = "conformer"
width = 16
layers = 1
heads = 2
dropout = 0.1
kernel_frames = 5

[model.subsampling]
factor = 4
channels = 4

[model.attention]
kind = "transformer_xl"

[training]
epochs = 3
accumulate = 2
learning_rate = 1e-2
weight_decay = 1e-3
gradient_clip_norm = 1.0
schedule = "noam"
warmup_steps = 5
averaging = "ema"
ema_decay = 0.9
accelerator = "cpu"
threads = 1
memory_probe = false
checkpoint_every_seconds = 0
checkpoint_every_steps = 2
log_every_steps = 3
"""

LoadConfig = Callable[..., ExperimentConfig]
TrainTwice = Callable[[ExperimentConfig], Path]
BuildSmall = Callable[..., CtcModel]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two manifests, a tokenizer and `config.toml`."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    utterances = []
    for number in range(24):
        words = [str(word) for word in generator.choice(_WORDS, size=2)]
        seconds = 0.8 + 0.03 * number
        time = np.arange(int(seconds * 16000)) / 16000
        tone = 0.1 * np.sin(2 * np.pi * (200 + 50 * number) * time)
        path = folder / f"u{number:02d}.wav"
        soundfile.write(path, tone + 0.01 * generator.standard_normal(len(time)), 16000)
        utterances.append(
            Utterance(
                id=path.stem,
                audio_filepath=path,
                duration_seconds=len(time) / 16000,
                text=" ".join(words),
            )
        )
    write_manifest(folder / "train.jsonl", utterances[4:])
    write_manifest(folder / "validation.jsonl", utterances[:4])
    train_tokenizer(_WORDS, vocab_size=None, kind="char").save(folder / "tokenizer.model")
    (folder / "config.toml").write_text(_CONFIG, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def load(corpus: Path) -> LoadConfig:
    """Load the tiny config with overrides."""

    def load_with(*overrides: str) -> ExperimentConfig:
        return load_config(corpus / "config.toml", overrides)

    return load_with


class _Crash(BaseException):
    pass


@pytest.fixture
def train_whole_and_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainTwice:
    """Train at once, then until a crash at the 17th batch and on; the weights must be equal."""

    def train_twice(config: ExperimentConfig) -> Path:
        train(config, tmp_path / "whole")
        backward, made = Learner.backward, 0

        def crash(*args: object, **settings: object) -> object:
            nonlocal made
            made += 1
            if made == 17:
                raise _Crash
            return backward(*args, **settings)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Learner, "backward", crash)
            with pytest.raises(_Crash):
                train(config, tmp_path / "parts")
        train(config, tmp_path / "parts", resume=True)
        whole, parts = (
            (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")
        )
        assert whole == parts
        return tmp_path / "whole"

    return train_twice


@pytest.fixture
def build_small() -> BuildSmall:
    """Build a Conformer of three narrow blocks, five labels and 20 features."""

    def build(**settings: object) -> CtcModel:
        torch.manual_seed(0)
        section = {
            "encoder": "conformer",
            "width": 16,
            "layers": 3,
            "heads": 2,
            "kernel_frames": 5,
            "dropout": 0.0,
            "norm": "layer",
            "subsampling": {"factor": 4, "channels": 4},
            "attention": {"kind": "full"},
            **settings,
        }
        return build_model(parse_encoder(section), vocab_size=5, feature_size=20)

    return build


@pytest.fixture(autouse=True)
def _restored_threads() -> Iterator[None]:
    """Training sets torch's threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The beginning of a command line that runs `asr` in a process of its own."""
    script = tmp_path_factory.mktemp("command") / "asr"
    root = str(Path(asr.__file__).parents[1])
    script.write_text(
        f"import sys\nsys.path.insert(0, {root!r})\nfrom asr.cli import main\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    return [sys.executable, "-W", "error", str(script)]


@pytest.fixture
def environment() -> dict[str, str]:
    """Environment of such a process."""
    return os.environ | {"OMP_NUM_THREADS": "1"}
