"""A training tried out, from the command line and in parts."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from asr.config import ExperimentConfig
from asr.training import dry_run as dry_run_module
from asr.training.dry_run import DryRun, dry_run
from asr.training.run import train

LoadConfig = Callable[..., ExperimentConfig]


def test_foretells_the_training_and_leaves_nothing(
    load: LoadConfig, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run_module, "_MOST_BATCHES", 5)
    config = load("training.epochs=2", "training.accumulate=2")
    found = dry_run(config, tmp_path / "exp")
    assert found is not None
    assert not list(tmp_path.iterdir())
    outcome = train(config, tmp_path / "exp")
    assert found.steps == outcome.step
    assert found.batches == pytest.approx(outcome.step, abs=1)
    assert (found.measured_batches, found.processes, found.device) == (5, 1, "cpu")
    assert 0 < found.padding < 0.5
    assert 0 < found.data_wait < 1
    assert found.peak_bytes > 1 << 20
    assert found.parameters > 1000


@pytest.mark.slow
def test_two_processes_print_once(
    corpus: Path, tmp_path: Path, command: Sequence[str], environment: dict[str, str]
) -> None:
    line = [*command, "train", str(corpus / "config.toml"), "--out", str(tmp_path / "exp")]
    line += ["--dry-run", "--set", "training.devices=2"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^device .*(cpu, 2 x \d+ threads)$", done.stdout, re.MULTILINE)
    assert done.stdout.count("optimizer steps") == 1
    assert not list(tmp_path.iterdir())


def test_hours_count_batches_and_not_steps(
    load: LoadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each utterance is a batch; one epoch warms up, the next one is measured.
    for limit in ("_FEWEST_BATCHES", "_MOST_BATCHES"):
        monkeypatch.setattr(dry_run_module, limit, 20)
    settings = ("data.batch_seconds=1", "augmentation.speed_factors=[]")
    config = load("training.epochs=2", "training.accumulate=4", *settings)
    found = dry_run(config, tmp_path / "exp")
    assert isinstance(found, DryRun)
    assert (found.measured_batches, found.steps) == (20, 10)
    audio_hours = sum(int((0.8 + 0.03 * n) * 16000) / 16000 for n in range(4, 24)) / 3600
    assert found.hours == pytest.approx(2 * audio_hours / found.speed, rel=0.1)
