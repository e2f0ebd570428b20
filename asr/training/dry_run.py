"""Dry run of a training: its size, memory, speed and hours, measured on a few batches."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric

from asr.config import ExperimentConfig
from asr.data.loader import ResumableLoader
from asr.devices import peak_memory_bytes
from asr.training.config import TrainingConfig
from asr.training.engine import decide_precision, launch
from asr.training.initialise import InitStatistics
from asr.training.learner import Learner
from asr.training.metrics import MetricsWindow
from asr.training.objective import TrainingBatch
from asr.training.probe import probe_memory
from asr.training.run import open_on_main_process, recogniser_parts
from asr.training.schedule import total_steps

# Enough batches for a mean over their lengths, unless they take longer than a user waits.
_MOST_BATCHES = 50
_FEWEST_BATCHES = 4
_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a training would be.

    Args:
        parameters: Of the model.
        device: Where it runs.
        processes: Processes that share it.
        threads: CPU threads of each.
        batches: Batches an epoch, of each process.
        steps: Optimizer steps of the whole training.
        peak_bytes: Most memory of the main process, resident on the CPU or allocated on the device.
        measured_batches: Batches of each process that the following figures are from.
        speed: Audio seconds in a second of all processes.
        padding: Share of padding in these batches.
        data_wait: Share of the time spent on waiting for the loader.
        hours: Estimate for the whole training without validation.
    """

    parameters: int
    device: str
    processes: int
    threads: int
    batches: int
    steps: int
    peak_bytes: int
    measured_batches: int
    speed: float
    padding: float
    data_wait: float
    hours: float

    def summary(self) -> str:
        """One line a figure."""
        rows = {
            "parameters": f"{self.parameters:,}",
            "device": f"{self.device}, {self.processes} x {self.threads} threads",
            "batches an epoch": f"{self.batches:,} on each process",
            "optimizer steps": f"{self.steps:,}",
            "peak memory": f"{self.peak_bytes / 2**30:.2f} GiB",
            "speed": f"{self.speed:.1f} audio s/s over {self.measured_batches} batches",
            "padding": f"{self.padding:.1%} of these",
            "waiting for data": f"{self.data_wait:.1%} of the time",
            "whole training": f"{self.hours:.1f} h without validation",
        }
        return "\n".join(f"{name:18}{value}" for name, value in rows.items())


def dry_run(
    config: ExperimentConfig,
    out: Path,
    *,
    init: Path | None = None,
    init_statistics: InitStatistics | None = None,
) -> DryRun | None:
    """Dry run of a training: the largest batch, then a few batches, and nothing is kept.

    Args:
        config: The resolved config.
        out: The experiment folder that training would write. It is not touched; what must be
            written meanwhile lies beside it and is removed.
        init: Experiment or bundle whose weights come first; None for random ones.
        init_statistics: Feature statistics to take with `init`; None to keep its own if possible.

    Returns:
        What was found; None on all processes but the main one.

    Raises:
        FileNotFoundError: A manifest, the tokenizer or weights are missing.
        ValueError: Data or first weights do not fit the config, or memory does not suffice.
        OSError: Something could not be written.
    """
    fabric = launch(config.training)
    with _scratch(out, fabric) as folder:
        experiment = open_on_main_process(
            config,
            folder,
            fabric=fabric,
            resume=False,
            init=init,
            init_statistics=init_statistics,
        )
        decide_precision(fabric, config.training, former=None)
        parts = recogniser_parts(config, fabric, experiment, True)
        probe_memory(parts.learner, parts.largest_batch(), device=fabric.device)
        batches = _forever(parts.loader)
        first = _train(fabric, config.training, parts.learner, batches, count=_FEWEST_BATCHES)
        # All processes take as many batches as the main one decides.
        fitting = int(_SECONDS * _FEWEST_BATCHES / first.seconds)
        count = fabric.broadcast(min(max(fitting, _FEWEST_BATCHES), _MOST_BATCHES))
        window = _train(fabric, config.training, parts.learner, batches, count=count)
        seconds = window.seconds
        row = window.close(speed=parts.learner.objective.speed)
    if not fabric.is_global_zero:
        return None
    batches_an_epoch = len(parts.loader)
    steps_an_epoch = -(-batches_an_epoch // config.training.accumulate)
    steps = total_steps(config.training, steps_an_epoch)
    return DryRun(
        parameters=parts.learner.parameters,
        device=str(fabric.device),
        processes=fabric.world_size,
        threads=torch.get_num_threads(),
        batches=batches_an_epoch,
        steps=steps,
        peak_bytes=peak_memory_bytes(fabric.device),
        measured_batches=count,
        speed=row[parts.learner.objective.speed],
        padding=row["padding"],
        data_wait=row["data_wait"],
        hours=steps / steps_an_epoch * batches_an_epoch * seconds / count / 3600,
    )


@contextmanager
def _scratch(out: Path, fabric: Fabric) -> Iterator[Path]:
    """A folder beside the one of the experiment, the same for all processes, then removed."""
    parent = None
    if fabric.is_global_zero:
        out.parent.mkdir(parents=True, exist_ok=True)
        parent = tempfile.mkdtemp(prefix=f"{out.name}.dry-run-", dir=out.parent)
    parent = fabric.broadcast(parent)
    assert parent is not None
    try:
        yield Path(parent) / out.name
    finally:
        if fabric.is_global_zero:
            shutil.rmtree(parent, ignore_errors=True)


def _forever(loader: ResumableLoader[TrainingBatch]) -> Iterator[TrainingBatch]:
    while True:
        yield from loader


def _train(
    fabric: Fabric,
    config: TrainingConfig,
    learner: Learner,
    batches: Iterator[TrainingBatch],
    *,
    count: int,
) -> MetricsWindow:
    """Train on `count` batches with a learning rate of zero; what that took."""
    window = MetricsWindow(fabric, sums={}, seconds=0.0)
    learner.train_mode()
    for number in range(1, count + 1):
        began = time.monotonic()
        batch = next(batches)
        window.add(waited_seconds=time.monotonic() - began)
        due = number % config.accumulate == 0 or number == count
        losses = learner.backward(batch, share=1 / config.accumulate, last=due)
        window.add(
            nats=losses.nats.double().sum(),
            labels=batch.label_count,
            batches=1,
            amount=learner.objective.amount(batch),
            room=learner.objective.room(batch),
        )
        if due:
            window.add(gradient_norm=learner.step(0.0), steps=1)
            learner.after_step(number)
    # Work that is left on the device belongs to the time.
    window.reduced()
    return window
