"""Metrics of training, each declared once: its sums, its column, and how it is shown."""

import csv
import io
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import truediv
from pathlib import Path

import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from asr.files import write_atomically
from asr.training.engine import sum_over_processes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Column of `metrics.csv`.

    Args:
        sums: Sums of a window of steps that the value is made from; `seconds`, the window's
            wall-clock time, and `processes` are known beside those that training adds up. Empty
            where the value is given at the time of writing.
        value: From these sums to the value; None where there is nothing to write.
        is_speed: Whether it is written for the objectives alone that name it as their speed.
        text: Format on standard error; empty for a metric that is not shown there.
        is_headline: Whether it says in one figure how good the weights are; shown last.
    """

    sums: tuple[str, ...] = ()
    value: Callable[..., float | None] | None = None
    is_speed: bool = False
    text: str = ""
    is_headline: bool = False


METRICS: Mapping[str, Metric] = {
    "step": Metric(),
    "epoch": Metric(),
    # Nats a label.
    "loss": Metric(
        sums=("nats", "labels"),
        value=lambda nats, labels: nats / max(labels, 1),
        text="loss {:.3f}",
    ),
    # The weighted sum of all losses beside `loss`.
    "auxiliary_loss": Metric(sums=("auxiliary", "batches"), value=truediv),
    "gradient_norm": Metric(sums=("gradient_norm", "steps"), value=truediv),
    "learning_rate": Metric(text="rate {:.2e}"),
    "audio_seconds_per_second": Metric(
        sums=("amount", "seconds"), value=truediv, is_speed=True, text="{:.0f} audio s/s"
    ),
    "tokens_per_second": Metric(
        sums=("amount", "seconds"), value=truediv, is_speed=True, text="{:.0f} tokens/s"
    ),
    "validation_loss": Metric(text="validation loss {:.3f}"),
    # Error rates are fractions.
    "validation_wer": Metric(text="WER {:.2%}", is_headline=True),
    "validation_cer": Metric(text="CER {:.2%}"),
    "validation_streaming_wer": Metric(text="streaming WER {:.2%}"),
    "validation_word_perplexity": Metric(text="word perplexity {:.1f}", is_headline=True),
    # Of all resumes together.
    "hours": Metric(),
    # Without its weight.
    "consistency_loss": Metric(
        sums=("consistency", "batches"),
        value=lambda consistency, batches: consistency / batches if consistency else None,
    ),
    # Share of the samples of batches.
    "padding": Metric(
        sums=("amount", "room"), value=lambda amount, room: 1 - amount / max(room, amount)
    ),
    # Share of the time that is spent on waiting for the loader.
    "data_wait": Metric(
        sums=("waited_seconds", "seconds", "processes"),
        value=lambda waited_seconds, seconds, processes: waited_seconds / (seconds * processes),
    ),
}
"""In the order of the columns. A validator's figure NAME is the metric `validation_NAME`."""

COLUMNS = tuple(METRICS)
_SUMS = tuple(
    dict.fromkeys(
        name
        for metric in METRICS.values()
        for name in metric.sums
        if name not in ("seconds", "processes")
    )
)


class MetricsWindow:
    """Sums of training since the last row of metrics.

    Args:
        fabric: Lightning's launched engine.
        sums: What `reduced` gave before training stopped, over all processes; names that no metric
            has any more are left out.
        seconds: Wall-clock seconds that the window had been open by then.
    """

    def __init__(self, fabric: Fabric, *, sums: Mapping[str, float], seconds: float) -> None:
        self._fabric = fabric
        self._sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=fabric.device)
        if fabric.is_global_zero:
            before = [sums.get(name, 0.0) for name in _SUMS]
            self._sums += torch.tensor(before, dtype=torch.float64, device=fabric.device)
        self._begin_seconds = time.monotonic() - seconds

    def add(self, **values: Tensor | float) -> None:
        """Add to sums of this process; a tensor stays where it is, so that nothing waits for it."""
        for name, value in values.items():
            self._sums[_SUMS.index(name)] += value

    def pause(self, seconds: float) -> None:
        """Leave out the last `seconds`, which were no training."""
        self._begin_seconds += seconds

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the window has been open."""
        return time.monotonic() - self._begin_seconds

    def reduced(self) -> dict[str, float]:
        """The sums over all processes, by name; a collective operation."""
        sums = sum_over_processes(self._fabric, self._sums).tolist()
        return dict(zip(_SUMS, sums, strict=True))

    def close(self, *, speed: str) -> dict[str, float]:
        """The row of metrics, whereupon a new window begins; a collective operation.

        Args:
            speed: The column of the amount trained on in a second.
        """
        seconds, processes = self.seconds, self._fabric.world_size
        sums = self.reduced() | {"seconds": seconds, "processes": processes}
        row = {}
        for name, metric in METRICS.items():
            if metric.value is None or (metric.is_speed and name != speed):
                continue
            value = metric.value(*(sums[part] for part in metric.sums))
            if value is not None:
                row[name] = value
        self._sums.zero_()
        self._begin_seconds = time.monotonic()
        return row


class MetricsWriter:
    """Appends rows to `metrics.csv` and their numbers to TensorBoard.

    Args:
        csv_path: The table.
        events: Folder of the TensorBoard events.
        rows: Rows that the table keeps: those that the checkpoint resumed from knows of.
        step: Optimizer step resumed from.
    """

    def __init__(self, csv_path: Path, events: Path, *, rows: int, step: int) -> None:
        self.rows = rows
        _keep_rows(csv_path, rows)
        self._stream = csv_path.open("a", encoding="utf-8", newline="")
        self._events = SummaryWriter(log_dir=str(events), purge_step=step + 1 if step else None)

    def write(self, row: dict[str, float]) -> None:
        """Append one row; columns without a value stay empty."""
        csv.DictWriter(self._stream, COLUMNS).writerow(row)
        self._stream.flush()
        self.rows += 1
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name, value, global_step=int(row["step"]))

    def sync(self) -> None:
        """Make all rows durable."""
        os.fsync(self._stream.fileno())
        self._events.flush()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()
        self._events.close()


def _keep_rows(path: Path, rows: int) -> None:
    kept: list[str] = []
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines[1:] if line.endswith("\n")][:rows]
    if len(kept) < rows:
        logger.warning("%s: %d of %d earlier rows are gone", path, rows - len(kept), rows)
    header = io.StringIO(newline="")
    csv.writer(header).writerow(COLUMNS)
    content = (header.getvalue() + "".join(kept)).encode()
    write_atomically(path, lambda stream: stream.write(content))


class ProgressDisplay:
    """Rows of metrics on standard error: a bar on a terminal, plain lines elsewhere.

    Args:
        step: Optimizer steps already done.
        last_step: Optimizer steps of the whole training.
        visible: Whether this process shows anything.
    """

    def __init__(self, *, step: int, last_step: int, visible: bool) -> None:
        self._last_step = last_step
        self._first_step = step
        self._start_seconds = time.monotonic()
        self._visible = visible
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._validated = ""
        self._loss = ""
        console = Console(stderr=True)
        if visible and console.is_terminal:
            self._bar = Progress(
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeElapsedColumn(),
                TextColumn("left {task.fields[left]}"),
                console=console,
                refresh_per_second=2,
            )
            self._task = self._bar.add_task(
                "", total=last_step, completed=step, numbers="", left="?"
            )

    def advance(self, step: int) -> None:
        """Optimizer step `step` is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, left=self._left(step))

    def show(self, row: dict[str, float]) -> None:
        """Show a row of metrics."""
        if not self._visible:
            return
        shown = [name for name in METRICS if METRICS[name].text and name in row]
        shown.sort(key=lambda name: METRICS[name].is_headline)
        numbers = [METRICS[name].text.format(row[name]) for name in shown]
        place = f"epoch {row['epoch']:.0f}  step {row['step']:.0f}"
        validated = "validation_loss" in row
        if validated:
            self._validated = f"  {numbers[-1]}"
            text = "  ".join([place, *numbers])
        else:
            self._loss = numbers[0]
            left = f"left {self._left(int(row['step']))}"
            text = "  ".join([f"{place}/{self._last_step}", *numbers, left])
        if self._bar is None:
            logger.info(text)
            return
        if validated:
            self._bar.console.print(text, highlight=False)
        self._bar.update(self._task, numbers=self._loss + self._validated)

    def _left(self, step: int) -> str:
        done = step - self._first_step
        if done <= 0:
            return "?"
        seconds = (time.monotonic() - self._start_seconds) / done * (self._last_step - step)
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"

    def __enter__(self) -> "ProgressDisplay":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
