"""Several processes, and shares of weights."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import soundfile
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import asr
from asr.config import ExperimentConfig, load_config
from asr.ctc import build_model, ctc_losses
from asr.data.manifest import read_manifest
from asr.features.frontend import Frontend
from asr.features.normalisation import Normalisation
from asr.files import Experiment
from asr.model.weights import read_weights
from asr.tokens.tokenizer import Tokenizer
from asr.training.averaging import ExponentialAverage
from asr.training.checkpoint import latest_checkpoint, load_checkpoint
from asr.training.experiment import read_provenance
from asr.training.run import train
from asr.training.sharding import (
    full_optimizer_state,
    full_state,
    load_full_optimizer_state,
    load_full_state,
)

_REGULARISERS = (
    "training.consistency.weight=0.2",
    "model.layers=2",
    "model.intermediate_layers=[1]",
    "model.intermediate_weight=0.3",
    "model.intermediate_use=condition",
    "model.stochastic_depth=0.9",
)


# Wide enough for branches that are shared out on their own.
_SHARED = (
    "training.strategy=fsdp",
    "training.memory_probe=true",
    "model.width=364",
    "model.layers=1",
    "model.attention.kind=adaptive_span",
    "training.averaging=ema",
    "training.ema_decay=0.9",
)


def _train(
    corpus: Path,
    out: Path,
    settings: Sequence[str],
    *,
    command: Sequence[str],
    environment: dict[str, str],
) -> str:
    line = [*command, "train", str(corpus / "config.toml"), "--out", str(out)]
    line += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _figures(experiment: Path, column: str) -> list[float]:
    with (experiment / "metrics.csv").open() as stream:
        return [float(row[column]) for row in csv.DictReader(stream) if row[column]]


@torch.no_grad()
def _validation_loss(experiment: Path, corpus: Path) -> float:
    """Nats a label of the saved weights, computed here, one utterance at a time."""
    config = load_config(experiment / "config.toml")
    tokenizer = Tokenizer.load(experiment / "tokenizer.model")
    normalisation = Normalisation.load(experiment / "normalisation.json")
    extractor = Frontend(config.features, normalisation)
    size = {"vocab_size": tokenizer.vocab_size, "feature_size": config.features.feature_size}
    model = build_model(config.model, **size).eval()
    model.load_state_dict(read_weights(experiment / "model.safetensors"))
    nats, count = 0.0, 0
    for utterance in read_manifest(corpus / "validation.jsonl"):
        samples, _ = soundfile.read(utterance.audio_filepath, dtype="float32")
        features = extractor(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        output = model(features.features, features.lengths)
        labels = torch.tensor([tokenizer.encode(str(utterance.text))])
        label_lengths = torch.tensor([labels.shape[1]])
        nats += float(ctc_losses(output.log_probs, output.lengths, labels, label_lengths))
        count += labels.shape[1]
    return nats / count


@pytest.mark.parametrize("overrides", [_REGULARISERS, _SHARED], ids=["regularisers", "shared"])
@pytest.mark.slow
def test_two_processes_train(
    *,
    overrides: Sequence[str],
    corpus: Path,
    tmp_path: Path,
    command: Sequence[str],
    environment: dict[str, str],
) -> None:
    out = tmp_path / "exp"
    settings = ["training.devices=2", "training.epochs=1", *overrides]
    log = _train(corpus, out, settings, command=command, environment=environment)
    assert log.count("validation loss") == 1
    newest = latest_checkpoint(out / "checkpoints")
    assert newest is not None
    checkpoint = load_checkpoint(newest)
    assert checkpoint.progress.epoch == 1
    logged = _figures(out, "validation_loss")[-1]
    assert logged == pytest.approx(_validation_loss(out, corpus), rel=1e-3)
    weights = read_weights(out / "model.safetensors")
    assert {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in checkpoint.model.items()
    }


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.slow
def test_two_processes_learn_what_one_does_from_twice_the_batches(
    *,
    strategy: str,
    corpus: Path,
    load: Callable[..., ExperimentConfig],
    tmp_path: Path,
    command: Sequence[str],
    environment: dict[str, str],
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    settings = [
        # Each utterance is a batch: twenty of them, dealt out to two.
        "data.batch_seconds=1",
        "model.dropout=0",
        "augmentation.speed_factors=[]",
        "augmentation.spec_augment.time_masks=0",
        "augmentation.spec_augment.frequency_masks=0",
        "training.epochs=1",
        "training.log_every_steps=1",
    ]
    train(load(*settings, "training.accumulate=2"), one)
    settings += ["training.accumulate=1", "training.devices=2", f"training.strategy={strategy}"]
    _train(corpus, two, settings, command=command, environment=environment)
    for column in ("loss", "gradient_norm"):
        figures = _figures(one, column)
        assert len(set(figures)) >= 3
        assert _figures(two, column) == pytest.approx(figures, rel=1e-4), column


@pytest.mark.slow
def test_two_processes_whose_timings_differ_agree_on_the_precision(
    corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    # Lightning starts the second process with this same script: bfloat16 is slow on it alone.
    script = tmp_path / "asr"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(asr.__file__).parents[1])!r})\n"
        "import torch\n"
        "from asr.cli import main\n"
        "from asr.training import engine\n"
        "slow = 9.0 if os.environ.get('LOCAL_RANK', '0') == '1' else 1.0\n"
        "engine._product_seconds = {torch.bfloat16: slow, torch.float32: 1.0}.get\n"
        "decide = engine.decide_precision\n"
        "def decided(*args, **settings):\n"
        "    found = decide(*args, **settings)\n"
        "    plugin = type(args[0].strategy.precision).__name__\n"
        "    rank = args[0].global_rank\n"
        f"    open({str(tmp_path)!r} + f'/rank{{rank}}', 'w').write(f'{{found}} {{plugin}}')\n"
        "    return found\n"
        "from asr.training import run\n"
        "run.decide_precision = decided\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    out = tmp_path / "exp"
    settings = ["training.devices=2", "training.max_steps=1", "training.precision=auto"]
    _train(corpus, out, settings, command=[sys.executable, str(script)], environment=environment)
    found = [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)]
    assert found == ["bfloat16 MixedPrecision"] * 2
    (start,) = read_provenance(Experiment(out))["starts"]
    assert (start["precision"], start["processes"]) == ("bfloat16", 2)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> None:
    for step in range(steps):
        torch.manual_seed(step)
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_sharded_states_equal_whole_ones(mesh: DeviceMesh) -> None:
    whole, sharded = _network(), _network()
    fully_shard(sharded, mesh=mesh)
    assert isinstance(next(sharded.parameters()), DTensor)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.1, fused=True) for m in (whole, sharded)]
    averages = [ExponentialAverage(model, 0.5) for model in (whole, sharded)]
    for model, optimizer, average in zip((whole, sharded), optimizers, averages, strict=True):
        _steps(model, optimizer, steps=3)
        average.update(1)
    for name, tensor in full_state(whole).items():
        torch.testing.assert_close(full_state(sharded)[name], tensor)
    for name, tensor in averages[0].tensors.items():
        torch.testing.assert_close(averages[1].tensors[name], tensor)
    other = _network()
    fully_shard(other, mesh=mesh)
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.1, fused=True)
    load_full_state(other, full_state(sharded))
    load_full_optimizer_state(optimizer, full_optimizer_state(optimizers[1]))
    _steps(sharded, optimizers[1], steps=2)
    _steps(other, optimizer, steps=2)
    for name, tensor in full_state(sharded).items():
        assert torch.equal(full_state(other)[name], tensor), name


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the weights of this model"):
        load_full_state(_network(), {"weight": torch.zeros(1)})
