"""The training loop: optimizer steps with metrics, validation and checkpoints between them."""

import logging
import os
import signal
import time
from types import FrameType

import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.data.loader import ResumableLoader
from asr.files import Experiment
from asr.training.averaging import EpochMean
from asr.training.checkpoint import (
    Checkpoint,
    TrainingProgress,
    save_checkpoint,
    save_weights,
)
from asr.training.config import TrainingConfig
from asr.training.engine import sum_over_processes
from asr.training.experiment import read_provenance, write_provenance
from asr.training.guard import FiniteGuard, StepRecord
from asr.training.learner import Learner
from asr.training.metrics import MetricsWindow, MetricsWriter, ProgressDisplay
from asr.training.objective import TrainingBatch
from asr.training.schedule import learning_rate_factor, total_steps
from asr.training.seeding import seed_batch, seed_step
from asr.training.validation import Validator

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Context in which the first signal sets `received` and the second ends the process at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        logger.warning(
            "%s: saving at the next optimizer step; once more ends at once",
            signal.Signals(number).name,
        )


logger = logging.getLogger(__name__)


class TrainingLoop:
    """Trains from wherever `progress` is to the end, or to a signal.

    Args:
        config: The training section.
        fabric: Lightning's launched engine.
        learner: Weights, optimizer and average.
        loader: Training data.
        validator: Validation data.
        experiment: The folder.
        progress: Where to begin.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        fabric: Fabric,
        learner: Learner,
        loader: ResumableLoader[TrainingBatch],
        validator: Validator,
        experiment: Experiment,
        progress: TrainingProgress,
    ) -> None:
        self._config = config
        self._fabric = fabric
        self._learner = learner
        self._loader = loader
        self._validator = validator
        self._experiment = experiment
        self._metrics: MetricsWriter | None = None
        self._progress = progress
        self._batches = len(loader)
        self._last_step = total_steps(config, -(-self._batches // config.accumulate))
        self._guard = FiniteGuard()
        self._window = MetricsWindow(fabric, sums=progress.window, seconds=progress.window_seconds)
        self._vote: Tensor | None = None
        now = time.monotonic()
        self._begin_seconds = now - progress.seconds
        self._saved_seconds = now
        self._display = ProgressDisplay(
            step=progress.step, last_step=self._last_step, visible=fabric.is_global_zero
        )
        self._signals = StopSignals()

    def run(self, metrics: MetricsWriter | None) -> int | None:
        """Train.

        Args:
            metrics: The table; None on all processes but the main one.

        Returns:
            None at the end of training, or the signal that stopped it.

        Raises:
            ValueError: A loss or gradient is not finite.
            OSError: A checkpoint could not be written.
        """
        self._metrics = metrics
        with self._signals, self._display:
            if self._progress.step == 0:
                self._save()
            while not self._stopped():
                if not self._epoch_is_over():
                    self._train_epoch()
                if self._epoch_is_over() and self._end_epoch():
                    return None
            self._save()
        return self._signals.received

    def _epoch_is_over(self) -> bool:
        progress = self._progress
        return progress.next_batch == self._batches or progress.step == self._last_step

    def _train_epoch(self) -> None:
        """Train to the end of the epoch, of training, or to a signal."""
        progress, config = self._progress, self._config
        self._loader.load_state_dict({"epoch": progress.epoch, "next_batch": progress.next_batch})
        self._learner.train_mode()
        self._vote = None
        batches: list[TrainingBatch] = []
        began = time.monotonic()
        for batch in self._loader:
            self._window.add(waited_seconds=time.monotonic() - began)
            batches.append(batch)
            if len(batches) == min(config.accumulate, self._batches - progress.next_batch):
                self._step(batches)
                batches = []
                if self._epoch_is_over() or self._between_steps():
                    return
            began = time.monotonic()

    def _step(self, batches: list[TrainingBatch]) -> None:
        progress, config = self._progress, self._config
        step = progress.step + 1
        factor = learning_rate_factor(config, step, self._last_step)
        losses = []
        for number, batch in enumerate(batches):
            seed_batch(
                seed=config.seed,
                epoch=progress.epoch,
                batch=progress.next_batch + number,
                rank=self._fabric.global_rank,
            )
            found = self._learner.backward(
                batch, share=1 / len(batches), last=number == len(batches) - 1
            )
            losses.append(found.nats)
            self._window.add(
                nats=found.nats.double().sum(),
                labels=batch.label_count,
                auxiliary=found.auxiliary,
                batches=1,
                amount=self._learner.objective.amount(batch),
                room=self._learner.objective.room(batch),
                consistency=0 if found.consistency is None else found.consistency,
            )
        norm = self._learner.step(factor)
        self._window.add(gradient_norm=norm, steps=1)
        ids = [batch.ids for batch in batches]
        self._guard.add(StepRecord(step=step, ids=ids, losses=losses, gradient_norm=norm))
        seed_step(seed=config.seed, step=step)
        self._learner.after_step(step)
        progress.step = step
        progress.next_batch += len(batches)
        self._display.advance(step)
        if step % config.log_every_steps == 0:
            self._log(factor)

    def _log(self, factor: float) -> None:
        self._guard.flush()
        row = self._window.close(speed=self._learner.objective.speed)
        self._write({"learning_rate": self._config.learning_rate * factor, **row})

    def _write(self, values: dict[str, float]) -> None:
        row = {
            "step": self._progress.step,
            "epoch": self._progress.epoch + 1,
            **values,
            "hours": (time.monotonic() - self._begin_seconds) / 3600,
        }
        if self._metrics is not None:
            self._metrics.write(row)
        self._display.show(row)

    def _between_steps(self) -> bool:
        """Save what is due after a step inside an epoch; True after a signal."""
        config, now = self._config, time.monotonic()
        flags = torch.tensor(
            [
                self._signals.received is not None,
                0 < config.checkpoint_every_seconds < now - self._saved_seconds,
            ],
            dtype=torch.float32,
        )
        if self._fabric.world_size > 1:
            # Read one step later, so that no device waits for its host.
            vote = sum_over_processes(self._fabric, flags)
            flags, self._vote = torch.zeros(2) if self._vote is None else self._vote, vote
        stop, by_time = flags.tolist()
        if stop:
            return True
        every = config.checkpoint_every_steps
        if by_time or (every and self._progress.step % every == 0):
            self._save()
            self._vote = None
        return False

    def _stopped(self) -> bool:
        """Whether any process has received a signal."""
        received = torch.tensor(float(self._signals.received is not None))
        return bool(sum_over_processes(self._fabric, received).item() > 0)

    def _end_epoch(self) -> bool:
        """Average, validate and save; True at the end of training, False also after a signal."""
        progress, config, began = self._progress, self._config, time.monotonic()
        self._guard.flush()
        if self._stopped():
            return False
        finished = progress.step == self._last_step
        if isinstance(self._learner.average, EpochMean):
            weights = self._learner.model_state()
            if self._fabric.is_global_zero:
                self._learner.average.add(progress.epoch, weights)
            self._fabric.barrier()
        due = (progress.epoch + 1) % config.validate_every_epochs == 0 or finished
        if due and not self._validate():
            return False
        if progress.next_batch == self._batches:
            progress.epoch, progress.next_batch = progress.epoch + 1, 0
        progress.ended_step = progress.step
        self._window.pause(time.monotonic() - began)
        self._save()
        if isinstance(self._learner.average, EpochMean) and self._fabric.is_global_zero:
            # Every epoch end has a checkpoint: the oldest that is kept is so many epochs back.
            self._learner.average.prune(progress.epoch - 1 - config.keep_checkpoints)
        return finished

    def _validate(self) -> bool:
        """Validate and keep the averaged weights; False when a signal broke it off."""
        alone = self._fabric.world_size == 1
        with self._learner.averaged(self._progress.epoch):
            result = self._validator.run(
                self._learner, stop=lambda: alone and self._signals.received is not None
            )
            weights = self._learner.model_state()
        if result is None:
            return False
        if self._fabric.is_global_zero:
            save_weights(self._experiment.weights, weights)
        self._write({f"validation_{name}": value for name, value in result.items()})
        return True

    def _save(self) -> None:
        """Write a checkpoint of the boundary between two optimizer steps."""
        self._guard.flush()
        now = time.monotonic()
        progress, metrics = self._progress, self._metrics
        progress.seconds = now - self._begin_seconds
        progress.window = self._window.reduced()
        progress.window_seconds = self._window.seconds
        checkpoint = Checkpoint(
            progress=progress,
            model=self._learner.model_state(),
            optimizer=self._learner.optimizer_state(),
            average=self._learner.average_state(),
        )
        if metrics is not None:
            metrics.sync()
            progress.metrics_rows = metrics.rows
            experiment = self._experiment
            save_checkpoint(experiment.checkpoints, checkpoint, keep=self._config.keep_checkpoints)
            record = read_provenance(experiment)
            write_provenance(experiment, record | {"hours": progress.seconds / 3600})
        self._saved_seconds = time.monotonic()
