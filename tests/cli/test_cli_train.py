"""`asr train` as a user calls it, in this process."""

import sys
from pathlib import Path

import pytest

from asr import cli
from asr.config import ExperimentConfig
from asr.training import run
from asr.training.run import TrainingOutcome


@pytest.fixture
def config(tmp_path: Path, tiny_experiment: Path) -> Path:
    """A config without data."""
    path = tmp_path / "config.toml"
    path.write_bytes((tiny_experiment / "config.toml").read_bytes())
    return path


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["asr", "train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def _pretend(
    monkeypatch: pytest.MonkeyPatch, outcome: TrainingOutcome
) -> list[tuple[ExperimentConfig, Path, bool, Path | None, str | None]]:
    calls = []

    def train(
        config: ExperimentConfig,
        out: Path,
        *,
        resume: bool,
        init: Path | None,
        init_statistics: str | None,
    ) -> TrainingOutcome:
        calls.append((config, out, resume, init, init_statistics))
        return outcome

    monkeypatch.setattr(run, "train", train)
    return calls


def test_arguments_arrive(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = TrainingOutcome(signal=None, already_finished=False, step=3)
    calls = _pretend(monkeypatch, done)
    out = tmp_path / "exp"
    words = ["--set", "training.epochs=7", "--set", "data.workers=1", "--resume", "--init", "base"]
    words += ["--init-statistics", "keep"]
    assert _call(monkeypatch, str(config), "--out", str(out), *words) == 0
    ((loaded, folder, resume, init, statistics),) = calls
    assert (loaded.training.epochs, loaded.data.workers) == (7, 1)
    assert (folder, resume, init, statistics) == (out, True, Path("base"), "keep")


@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143)])
def test_signal_becomes_the_exit_status(
    *,
    number: int,
    status: int,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _pretend(monkeypatch, TrainingOutcome(signal=number, already_finished=False, step=3))
    assert _call(monkeypatch, str(config), "--out", "exp") == status
    assert "stopped at step 3; continue with --resume" in capsys.readouterr().err


def test_finished_run_says_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, TrainingOutcome(signal=None, already_finished=True, step=3))
    assert _call(monkeypatch, str(config), "--out", "exp", "--resume") == 0
    assert "exp is finished (3 steps): nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected data.train, found nothing"),
        (["--set", "training.learning_rat=1"], "learning_rate"),
        (["--set", "training.accelerator=cuda", "--set", "training.devices=99"], "99 CUDA devices"),
        (["--dry-run"], "expected data.train, found nothing"),
    ],
)
def test_mistake_is_one_line(
    *,
    arguments: list[str],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _call(monkeypatch, str(config), "--out", str(tmp_path / "exp"), *arguments) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "exp").exists()


def test_statistics_of_no_first_weights_are_wrong_usage(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call(monkeypatch, str(config), "--out", "exp", "--init-statistics", "estimate") == 2
    assert "expected --init with --init-statistics" in capsys.readouterr().err
