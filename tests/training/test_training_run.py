"""`train` from end to end in one process."""

import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import asr.recognizer
from asr.config import ExperimentConfig
from asr.files import Experiment
from asr.model.weights import read_weights
from asr.tokens.normaliser import NORMALISER_VERSION
from asr.tokens.tokenizer import Tokenizer, train_tokenizer
from asr.training import engine
from asr.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from asr.training.experiment import read_provenance
from asr.training.learner import Learner
from asr.training.objective import CtcStep
from asr.training.run import train

LoadConfig = Callable[..., ExperimentConfig]


def test_folder_of_a_run(load: LoadConfig, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "exp"
    outcome = train(load("training.epochs=1", "training.precision=bfloat16"), out)
    assert {path.name for path in out.iterdir()} == {
        "checkpoints",
        "config.toml",
        "metrics.csv",
        "model.safetensors",
        "normalisation.json",
        "provenance.json",
        "tensorboard",
        "tokenizer.model",
    }
    with (out / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[-1]["step"] == str(outcome.step)
    assert 0 < float(rows[-1]["validation_loss"]) < 100
    assert float(rows[0]["gradient_norm"]) > 0
    assert 0 < float(rows[0]["padding"]) < 0.3
    assert 0 < float(rows[0]["data_wait"]) < 1
    record = read_provenance(Experiment(out))
    assert record["hours"] > 0
    assert record["parameters"] > 1000
    (start,) = record["starts"]
    assert (start["step"], start["precision"], start["processes"]) == (0, "bfloat16", 1)
    assert start["versions"]["attune-asr"] == version("attune-asr")
    assert start["versions"]["torch"] == version("torch")
    assert start["versions"]["lightning"] == version("lightning")
    assert start["versions"]["normaliser"] == NORMALISER_VERSION
    assert {"command", "commit", "hardware", "time", "device"} <= start.keys()
    assert all(
        tensor.dtype != torch.bfloat16
        for tensor in read_weights(out / "model.safetensors").values()
    )
    (hypothesis,) = asr.recognizer.load(out).transcribe([corpus / "u00.wav"])
    assert hypothesis.duration_seconds == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("precision", "seconds", "logged"),
    [
        ("bfloat16", 2.0, "bfloat16 is slower than float32 on this processor; training.precision="),
        ("bfloat16", 1.0, None),
        ("auto", 2.0, "precision: float32"),
        ("auto", 1.0, "precision: bfloat16"),
    ],
)
def test_precision_fits_the_processor(
    *,
    precision: str,
    seconds: float,
    logged: str | None,
    load: LoadConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    took = {torch.bfloat16: seconds, torch.float32: 1.0}
    monkeypatch.setattr(engine, "_product_seconds", took.get)
    with caplog.at_level(logging.INFO):
        train(load("training.max_steps=1", f"training.precision={precision}"), tmp_path / "exp")
    if logged is None:
        assert "bfloat16" not in caplog.text
    else:
        assert logged in caplog.text


def test_resume_keeps_the_precision_and_says_what_it_would_choose(
    load: LoadConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "exp"
    took = {torch.bfloat16: 1.0, torch.float32: 1.0}
    monkeypatch.setattr(engine, "_product_seconds", took.get)
    train(load("training.max_steps=1", "training.precision=auto"), out)
    took[torch.bfloat16] = 9.0
    with caplog.at_level(logging.WARNING):
        train(load("training.max_steps=2", "training.precision=auto"), out, resume=True)
    assert "precision: bfloat16, as this experiment was trained so far; here float32" in caplog.text
    starts = read_provenance(Experiment(out))["starts"]
    assert [(start["step"], start["precision"]) for start in starts] == [
        (0, "bfloat16"),
        (1, "bfloat16"),
    ]


def test_finished_experiment_without_checkpoints_stays_as_it_is(
    load: LoadConfig, tmp_path: Path
) -> None:
    out = tmp_path / "exp"
    step = train(load("training.epochs=1"), out).step
    shutil.rmtree(out / "checkpoints")
    # What 0.1.0 wrote: a count, and the first start's description beside it.
    record = read_provenance(Experiment(out))
    record |= record["starts"][0] | {"starts": 2}
    (out / "provenance.json").write_text(json.dumps(record))
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    outcome = train(load("training.epochs=1", "training.log_every_steps=9"), out, resume=True)
    assert (outcome.already_finished, outcome.step) == (True, step)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    first, second = read_provenance(Experiment(out))["starts"]
    assert first["commit"] == record["commit"]
    assert second == {}
    with pytest.raises(ValueError, match="found weights alone; begin with them in another folder"):
        train(load("training.epochs=2"), out, resume=True)


def test_loss_falls(load: LoadConfig, tmp_path: Path) -> None:
    train(load("training.epochs=6"), tmp_path / "exp")
    with (tmp_path / "exp" / "metrics.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert losses[-1] < 0.7 * losses[0]


def test_memory_probe_changes_nothing(load: LoadConfig, tmp_path: Path) -> None:
    for name, probe in (("with", "true"), ("without", "false")):
        train(load("training.max_steps=3", f"training.memory_probe={probe}"), tmp_path / name)
    left, right = (
        read_weights(tmp_path / name / "model.safetensors") for name in ("with", "without")
    )
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_too_large_a_batch_names_the_setting(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backward(*args: Any, **settings: Any) -> None:  # noqa: ANN401
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    monkeypatch.setattr(Learner, "backward", backward)
    with pytest.raises(ValueError, match=r"out of memory.*lower data\.batch_seconds") as error:
        train(load("training.memory_probe=true"), tmp_path / "exp")
    assert "\n" not in str(error.value)


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    original = CtcStep.forward

    def poisoned(*args: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += args[0].training
        output = original(*args)
        if args[0].training and calls == 3:
            output = output._replace(nats=output.nats * torch.nan)
        return output

    monkeypatch.setattr(CtcStep, "forward", poisoned)
    with pytest.raises(ValueError, match=r"found loss nan at step 2 in a batch of [0-9]+ for u"):
        train(load("training.checkpoint_every_steps=1"), tmp_path / "exp")
    newest = latest_checkpoint(tmp_path / "exp" / "checkpoints")
    assert newest is not None
    checkpoint = load_checkpoint(newest)
    assert checkpoint.progress.step == 1
    assert all(tensor.isfinite().all() for tensor in checkpoint.model.values())


def test_full_disk_keeps_what_was_saved(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes > 40:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            train(load(), tmp_path / "exp")
    newest = latest_checkpoint(tmp_path / "exp" / "checkpoints")
    assert newest is not None
    assert load_checkpoint(newest).progress.step > 0
    assert not list((tmp_path / "exp").rglob("*.part"))
    train(load(), tmp_path / "exp", resume=True)


def test_first_weights_of_another_experiment(load: LoadConfig, tmp_path: Path) -> None:
    train(load("training.max_steps=2"), tmp_path / "first")
    config = load(
        "training.max_steps=1",
        "training.learning_rate=1e-12",
        "training.averaging=none",
        "training.ema_decay=0",
    )
    train(config, tmp_path / "second", init=tmp_path / "first")
    left, right = (
        read_weights(tmp_path / name / "model.safetensors") for name in ("first", "second")
    )
    for name in left:
        if "running" not in name:
            torch.testing.assert_close(left[name], right[name])
    with pytest.raises(ValueError, match="found others in encoder"):
        train(load("model.width=32"), tmp_path / "third", init=tmp_path / "first")


_STILL = (
    "training.max_steps=1",
    "training.learning_rate=1e-12",
    "training.averaging=none",
    "training.ema_decay=0",
)


def test_the_seed_decides_the_first_weights(load: LoadConfig, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2), ("again", 1)):
        train(load(*_STILL, f"training.seed={seed}"), tmp_path / name)
    one, two, again = (
        read_weights(tmp_path / name / "model.safetensors")["encoder.subsampling.projection.weight"]
        for name in ("one", "two", "again")
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, two, atol=1e-3)


def test_labels_of_another_tokenizer_get_a_new_head(
    load: LoadConfig, corpus: Path, tmp_path: Path
) -> None:
    train(load(*_STILL), tmp_path / "first")
    # The same letters in another order.
    other = train_tokenizer(["XXXX TWO FIVE NINE SIX TEN"], vocab_size=None, kind="char")
    other.save(tmp_path / "tokenizer.model")
    former = Tokenizer.load(corpus / "tokenizer.model")
    assert sorted(other.pieces) == sorted(former.pieces)
    assert other.pieces != former.pieces
    config = load(*_STILL, "training.seed=2", f"data.tokenizer={tmp_path / 'tokenizer.model'}")
    train(config, tmp_path / "second", init=tmp_path / "first")
    first, second = (
        read_weights(tmp_path / name / "model.safetensors") for name in ("first", "second")
    )
    name = "encoder.subsampling.projection.weight"
    torch.testing.assert_close(second[name], first[name])
    assert not torch.allclose(
        second["head.projection.weight"], first["head.projection.weight"], atol=1e-3
    )


def test_hours_count_all_resumes_together(load: LoadConfig, tmp_path: Path) -> None:
    out = tmp_path / "exp"
    train(load("training.epochs=1"), out)
    newest = latest_checkpoint(out / "checkpoints")
    assert newest is not None
    checkpoint = load_checkpoint(newest)
    checkpoint.progress.seconds += 7200
    save_checkpoint(out / "checkpoints", checkpoint, keep=1)
    train(load("training.epochs=2"), out, resume=True)
    assert 2 < read_provenance(Experiment(out))["hours"] < 2.5
