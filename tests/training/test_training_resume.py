"""A resumed run equals the run that was never stopped, bit for bit."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from asr.config import ExperimentConfig
from asr.training import loop
from asr.training.averaging import EpochMean
from asr.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from asr.training.learner import Learner
from asr.training.metrics import MetricsWriter
from asr.training.run import train
from asr.training.validation import CtcValidator

LoadConfig = Callable[..., ExperimentConfig]
_CLOCK = ("hours", "audio_seconds_per_second", "data_wait")


class _Crash(BaseException):
    """Nothing in the code under test catches this."""


@pytest.fixture(scope="module")
def whole(load: LoadConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is never stopped."""
    out = tmp_path_factory.mktemp("whole") / "exp"
    outcome = train(load(), out)
    assert outcome.signal is None
    assert outcome.step == 3 * _steps_per_epoch(out)
    return out


def _steps_per_epoch(out: Path) -> int:
    with (out / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["validation_loss"]]
    return int(rows[0]["step"])


def _metrics(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return [{key: row[key] for key in row if key not in _CLOCK} for row in rows]


def _assert_same(left: object, right: object, where: str = "checkpoint") -> None:
    if isinstance(left, dict):
        assert isinstance(right, dict)
        assert left.keys() == right.keys(), where
        for key in left:
            _assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, torch.Tensor):
        assert isinstance(right, torch.Tensor)
        assert torch.equal(left, right), where
    else:
        assert left == right, where


def _assert_same_run(out: Path, whole: Path) -> None:
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    ends = []
    for folder in (out, whole):
        newest = latest_checkpoint(folder / "checkpoints")
        assert newest is not None
        ends.append(load_checkpoint(newest))
    for part in ("model", "optimizer", "average"):
        _assert_same(getattr(ends[0], part), getattr(ends[1], part), part)
    assert _metrics(out) == _metrics(whole)


@pytest.mark.slow
def test_resume_after_kill_equals_whole_run(
    *,
    load: LoadConfig,
    corpus: Path,
    whole: Path,
    tmp_path: Path,
    command: Sequence[str],
    environment: dict[str, str],
) -> None:
    """Workers, dropout, SpecAugment, speed perturbation, accumulation and averaging are on."""
    out = tmp_path / "exp"
    line = [*command, "train", str(corpus / "config.toml"), "--out", str(out)]
    line += ["--set", "data.workers=2", "--set", "training.keep_checkpoints=50"]
    inside = _steps_per_epoch(whole) + 2
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(line, env=environment, stderr=stream)
        deadline = time.monotonic() + 120
        while not (found := sorted((out / "checkpoints").glob("step-*.pt"))) or (
            int(found[-1].stem[5:]) < inside
        ):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()
    newest = latest_checkpoint(out / "checkpoints")
    assert newest is not None
    progress = load_checkpoint(newest).progress
    assert progress.epoch >= 1
    train(load("training.keep_checkpoints=50", "data.workers=1"), out, resume=True)
    _assert_same_run(out, whole)


def _crash_after(calls: int, function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    made = 0

    def replacement(*args: Any, **settings: Any) -> Any:  # noqa: ANN401
        nonlocal made
        made += 1
        if made == calls and before:
            raise _Crash
        result = function(*args, **settings)
        if made == calls:
            raise _Crash
        return result

    return replacement


@pytest.mark.parametrize(
    ("owner", "name", "calls", "before"),
    [
        (loop, "save_checkpoint", 1, True),
        (loop, "save_checkpoint", 6, True),
        (loop, "save_checkpoint", 6, False),
        (loop, "save_weights", 2, False),
        (CtcValidator, "run", 2, True),
        (MetricsWriter, "write", 5, False),
        (Learner, "backward", 9, False),
    ],
)
@pytest.mark.slow
def test_resume_after_crash_at_any_place(
    *,
    owner: object,
    name: str,
    calls: int,
    before: bool,
    load: LoadConfig,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "exp"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _crash_after(calls, getattr(owner, name), before=before))
        with pytest.raises(_Crash):
            train(load(), out)
    train(load(), out, resume=True)
    _assert_same_run(out, whole)


def test_a_checkpoint_may_lack_the_last_sums(
    load: LoadConfig, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "exp"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "backward", _crash_after(9, Learner.backward, before=True))
        with pytest.raises(_Crash):
            train(load(), out)
    newest = latest_checkpoint(out / "checkpoints")
    assert newest is not None
    checkpoint = load_checkpoint(newest)
    assert checkpoint.progress.window["nats"] > 0
    del checkpoint.progress.window["waited_seconds"]
    save_checkpoint(out / "checkpoints", checkpoint, keep=1)
    train(load(), out, resume=True)
    _assert_same_run(out, whole)


@pytest.mark.parametrize(
    ("number", "calls"), [(signal.SIGINT, 4), (signal.SIGTERM, 1), (signal.SIGTERM, 7)]
)
@pytest.mark.slow
def test_signal_saves_at_the_next_step(
    *,
    number: signal.Signals,
    calls: int,
    load: LoadConfig,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "exp"
    made = 0
    original = Learner.backward

    def backward(*args: Any, **settings: Any) -> Any:  # noqa: ANN401
        nonlocal made
        made += 1
        if made == calls:
            os.kill(os.getpid(), number)
        return original(*args, **settings)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "backward", backward)
        outcome = train(load("training.checkpoint_every_steps=0"), out)
    assert outcome.signal == number
    assert outcome.step == -(-calls // 2)
    assert signal.getsignal(number) == handler
    train(load(), out, resume=True)
    _assert_same_run(out, whole)


def test_signal_during_validation_keeps_the_epoch(
    load: LoadConfig, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "exp"
    original = Learner.evaluate

    def evaluate(*args: Any) -> Any:  # noqa: ANN401
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "evaluate", evaluate)
        patch.setattr(
            CtcValidator, "run", lambda self, learner, *, stop: _validate_twice(self, learner, stop)
        )
        outcome = train(load(), out)
    assert outcome.signal == signal.SIGTERM
    assert outcome.step == _steps_per_epoch(whole)
    train(load(), out, resume=True)
    _assert_same_run(out, whole)


def _validate_twice(validator: CtcValidator, learner: Learner, stop: Callable[[], bool]) -> None:
    batch = next(iter(validator._loader))
    learner.evaluate(batch)
    assert stop()


def test_resume_of_a_finished_run_says_so(load: LoadConfig, whole: Path) -> None:
    before = (whole / "model.safetensors").stat().st_mtime_ns
    outcome = train(load(), whole, resume=True)
    assert outcome.already_finished
    assert (whole / "model.safetensors").stat().st_mtime_ns == before


def test_more_epochs_equal_a_run_that_had_them(
    load: LoadConfig, whole: Path, tmp_path: Path
) -> None:
    train(load("training.epochs=2"), tmp_path / "exp")
    train(load("training.epochs=3"), tmp_path / "exp", resume=True)
    _assert_same_run(tmp_path / "exp", whole)


@pytest.mark.slow
def test_performer_resumes_with_the_features_of_its_step(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("model.attention.kind=performer", "model.attention.redraw_steps=2")
    train(load(*settings), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "backward", _crash_after(9, Learner.backward, before=False))
        with pytest.raises(_Crash):
            train(load(*settings), tmp_path / "exp")
    train(load(*settings), tmp_path / "exp", resume=True)
    _assert_same_run(tmp_path / "exp", tmp_path / "whole")


@pytest.mark.slow
def test_mean_of_epoch_ends_and_muon_survive_a_crash(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        'training.averaging="checkpoints"',
        "training.ema_decay=0",
        "training.averaged_epochs=2",
        "training.optimizer=muon",
    )
    train(load(*settings), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(EpochMean, "add", _crash_after(2, EpochMean.add, before=False))
        with pytest.raises(_Crash):
            train(load(*settings), tmp_path / "exp")
    train(load(*settings), tmp_path / "exp", resume=True)
    _assert_same_run(tmp_path / "exp", tmp_path / "whole")
    ends = [
        safetensors.torch.load_file(
            tmp_path / "whole" / "checkpoints" / f"epoch-{n:05d}.safetensors"
        )
        for n in (1, 2)
    ]
    kept = safetensors.torch.load_file(tmp_path / "whole" / "model.safetensors")
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, (ends[0][name] + ends[1][name]) / 2)
