"""What the loop does with each batch, and when it validates and saves."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.config import ExperimentConfig
from asr.training.learner import Learner
from asr.training.run import train
from asr.training.schedule import learning_rate_factor

LoadConfig = Callable[..., ExperimentConfig]


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_batches_share_a_step_and_draw_numbers_of_their_own(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[float, bool]] = []
    seeds, training = [], []
    backward = Learner.backward

    def noted(learner: Learner, batch: Any, *, share: float, last: bool) -> Any:  # noqa: ANN401
        calls.append((share, last))
        seeds.append(torch.initial_seed())
        training.append(learner.model.training)
        return backward(learner, batch, share=share, last=last)

    monkeypatch.setattr(Learner, "backward", noted)
    outcome = train(load("training.epochs=2", "training.accumulate=3"), tmp_path / "exp")
    steps, begin = 0, 0
    for end, (_, last) in enumerate(calls, start=1):
        if last:
            shares = [share for share, _ in calls[begin:end]]
            assert shares == [1 / (end - begin)] * (end - begin)
            steps, begin = steps + 1, end
    assert (steps, begin) == (outcome.step, len(calls))
    assert len(set(seeds)) == len(calls)
    # Also after a validation.
    assert all(training)


def test_the_rate_of_each_step_is_that_of_the_schedule(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []
    step = Learner.step

    def noted(learner: Learner, factor: float) -> Any:  # noqa: ANN401
        factors.append(factor)
        return step(learner, factor)

    monkeypatch.setattr(Learner, "step", noted)
    config = load("training.epochs=0", "training.max_steps=8", "training.log_every_steps=2")
    train(config, tmp_path / "exp")
    assert factors == [learning_rate_factor(config.training, each, 8) for each in range(1, 9)]
    rates = [float(row["learning_rate"]) for row in _rows(tmp_path / "exp") if row["loss"]]
    assert rates == pytest.approx([0.01 * factor for factor in factors[1::2]])


def test_the_last_epoch_is_validated_and_others_where_due(load: LoadConfig, tmp_path: Path) -> None:
    train(load("training.epochs=3", "training.validate_every_epochs=2"), tmp_path / "exp")
    validated = [row["epoch"] for row in _rows(tmp_path / "exp") if row["validation_loss"]]
    assert validated == ["2", "3"]


def test_checkpoints_inside_an_epoch_are_made_by_time(load: LoadConfig, tmp_path: Path) -> None:
    settings = ("training.checkpoint_every_seconds=1e-9", "training.checkpoint_every_steps=0")
    outcome = train(
        load("training.epochs=1", "training.keep_checkpoints=99", *settings), tmp_path / "exp"
    )
    found = sorted(path.name for path in (tmp_path / "exp" / "checkpoints").glob("*.pt"))
    assert found == [f"step-{step:08d}.pt" for step in range(outcome.step + 1)]


def test_a_run_stopped_in_its_last_validation_is_not_finished(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = load("training.epochs=0", "training.max_steps=2"), tmp_path / "exp"
    evaluate = Learner.evaluate

    def stopped(*args: Any) -> Any:  # noqa: ANN401
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "evaluate", stopped)
        # One batch an utterance, so that the validation has a second one to be stopped before.
        patch.setattr("asr.data.loader.evaluation_batches", lambda *_, **__: [[0], [1]])
        outcome = train(config, out)
    assert (outcome.signal, outcome.step) == (signal.SIGTERM, 2)
    assert not (out / "model.safetensors").exists()
    again = train(config, out, resume=True)
    assert not again.already_finished
    assert (out / "model.safetensors").exists()
