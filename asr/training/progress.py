"""Progress of training on standard error: a bar on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

logger = logging.getLogger(__name__)

# How the columns of metrics are shown, in this order.
_TEXTS: Mapping[str, Callable[[float], str]] = {
    "loss": "loss {:.3f}".format,
    "learning_rate": "rate {:.2e}".format,
    "audio_seconds_per_second": "{:.0f} audio s/s".format,
    "tokens_per_second": "{:.0f} tokens/s".format,
    "validation_loss": "validation loss {:.3f}".format,
    "validation_cer": "CER {:.2%}".format,
    "validation_streaming_wer": "streaming WER {:.2%}".format,
    "validation_wer": "WER {:.2%}".format,
    "validation_word_perplexity": "word perplexity {:.1f}".format,
}


class ProgressDisplay:
    """Shows the rows of metrics as they come.

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
        numbers = [text(row[name]) for name, text in _TEXTS.items() if name in row]
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
