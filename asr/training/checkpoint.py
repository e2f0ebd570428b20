"""Checkpoints: all that the next optimizer step depends on, as tensors and plain containers."""

import logging
import pickle
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from asr.files import first_line, write_atomically

logger = logging.getLogger(__name__)

FORMAT = 2
# Format 1 (version 0.1.0) has the sums of the window as a list in this order.
_WINDOW_OF_FORMAT_1 = (
    "nats",
    "labels",
    "auxiliary",
    "batches",
    "amount",
    "gradient_norm",
    "steps",
    "consistency",
    "room",
    "waited_seconds",
)
_NAME = re.compile(r"step-(\d{8})\.pt")


@dataclass(kw_only=True)
class TrainingProgress:
    """How far training has come, always at the boundary of two optimizer steps.

    Args:
        epoch: Epoch of the next batch, from 0.
        next_batch: Number of the next batch within its epoch.
        step: Optimizer steps done.
        ended_step: Optimizer steps at the last epoch end whose validation is done.
        seconds: Wall-clock seconds of training, over all resumes.
        metrics_rows: Rows of metrics written.
        window: Sums since the last row of metrics, by name.
        window_seconds: Wall-clock seconds since the last row of metrics.
    """

    epoch: int = 0
    next_batch: int = 0
    step: int = 0
    ended_step: int = -1
    seconds: float = 0.0
    metrics_rows: int = 0
    window: dict[str, float] = field(default_factory=dict)
    window_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        progress: How far training has come.
        model: State of the model.
        optimizer: State of the optimizer.
        average: State of the averaging; empty where there is none.
    """

    progress: TrainingProgress
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint atomically, then remove all but the newest.

    Args:
        folder: Where checkpoints lie.
        checkpoint: What to write.
        keep: Number of checkpoints that stay.

    Returns:
        The new file.

    Raises:
        OSError: It could not be written; older checkpoints are intact.
    """
    path = folder / f"step-{checkpoint.progress.step:08d}.pt"
    content = {
        "format": FORMAT,
        "progress": asdict(checkpoint.progress),
        "model": dict(checkpoint.model),
        "optimizer": checkpoint.optimizer,
        "average": checkpoint.average,
    }
    write_atomically(path, lambda stream: torch.save(content, stream))
    for old in _checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps; None where there is none."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, without ever unpickling arbitrary objects.

    Raises:
        ValueError: The file is damaged or of another format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"expected a checkpoint in {path}, found a damaged file "
            f"({first_line(error)}); remove it to resume from the one before"
        ) from None
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"expected a checkpoint of format {FORMAT} in {path}, found {found!r}; "
            "train on with the version that wrote it"
        )
    known = {item.name for item in fields(TrainingProgress)}
    progress = {name: value for name, value in content["progress"].items() if name in known}
    if content["format"] == 1:
        # Those written before a sum was added end earlier.
        progress["window"] = dict(
            zip(_WINDOW_OF_FORMAT_1, progress.get("window", ()), strict=False)
        )
    return Checkpoint(
        progress=TrainingProgress(**progress),
        model=content["model"],
        optimizer=content["optimizer"],
        average=content["average"],
    )


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write weights as safetensors, atomically."""
    # Clones, as safetensors refuses tensors that share memory (tied weights).
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    write_atomically(path, lambda stream: stream.write(safetensors.torch.save(content)))
