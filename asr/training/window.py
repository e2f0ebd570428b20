"""Sums since the last row of metrics, and the row that they become."""

import time
from collections.abc import Sequence

import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.training.engine import sum_over_processes

# In the order of `Progress.window`; new ones go to the end, where older checkpoints have none.
_SUMS = (
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


class MetricsWindow:
    """What training has added up since the last row.

    Args:
        fabric: Lightning's launched engine.
        sums: What `reduced` gave before training stopped, over all processes; may be shorter.
        seconds: Wall-clock seconds that the window had been open by then.
    """

    def __init__(self, fabric: Fabric, *, sums: Sequence[float], seconds: float) -> None:
        self._fabric = fabric
        self._sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=fabric.device)
        if fabric.is_global_zero:
            before = torch.tensor(sums, dtype=torch.float64, device=fabric.device)
            self._sums[: len(before)] += before
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

    def reduced(self) -> list[float]:
        """The sums over all processes; a collective operation."""
        sums: list[float] = sum_over_processes(self._fabric, self._sums).tolist()
        return sums

    def close(self, *, speed: str) -> dict[str, float]:
        """The row of metrics, whereupon a new window begins; a collective operation.

        Args:
            speed: The column of the amount trained on in a second.
        """
        sums, seconds = dict(zip(_SUMS, self.reduced(), strict=True)), self.seconds
        row = {
            "loss": sums["nats"] / max(sums["labels"], 1),
            "auxiliary_loss": sums["auxiliary"] / sums["batches"],
            "gradient_norm": sums["gradient_norm"] / sums["steps"],
            speed: sums["amount"] / seconds,
            "padding": 1 - sums["amount"] / max(sums["room"], sums["amount"]),
            "data_wait": sums["waited_seconds"] / (seconds * self._fabric.world_size),
        }
        if sums["consistency"]:
            row["consistency_loss"] = sums["consistency"] / sums["batches"]
        self._sums.zero_()
        self._begin_seconds = time.monotonic()
        return row
