"""`metrics.csv` and TensorBoard events, which continue where a resumed run left off."""

import csv
import io
import logging
import os
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from asr.files import write_atomically

logger = logging.getLogger(__name__)

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "auxiliary_loss",
    "gradient_norm",
    "learning_rate",
    "audio_seconds_per_second",
    "tokens_per_second",
    "validation_loss",
    "validation_wer",
    "validation_cer",
    "validation_streaming_wer",
    "validation_word_perplexity",
    "hours",
    "consistency_loss",
    "padding",
    "data_wait",
)
"""Losses are nats a label, error rates fractions; hours count all resumes together. The auxiliary
loss is the weighted sum of all losses beside `loss`; `consistency_loss` is without its weight.
`padding` is the share of the samples of batches, `data_wait` that of the time spent on waiting for
the loader."""


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
