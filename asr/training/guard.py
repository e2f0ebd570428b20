"""Stops training at the first loss or gradient that is no finite number."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one optimizer step gave, kept on the device until it is looked at.

    Args:
        step: Number of the step, from 1.
        ids: Utterance ids of each of its batches.
        losses: Losses of each of its batches, (batch,).
        gradient_norm: Scalar.
    """

    step: int
    ids: list[tuple[str, ...]]
    losses: list[Tensor]
    gradient_norm: Tensor


class FiniteGuard:
    """Checks each step's numbers one step later, so that the device never waits for the host."""

    def __init__(self) -> None:
        self._pending: list[_Verdict] = []

    def add(self, record: StepRecord) -> None:
        """Take a step, and check the one before it."""
        verdict = _Verdict(record)
        self.flush()
        self._pending.append(verdict)

    def flush(self) -> None:
        """Check every step taken so far.

        Raises:
            ValueError: A loss or the gradient is not finite; the message names the utterances.
        """
        pending, self._pending = self._pending, []
        for verdict in pending:
            verdict.check()


class _Verdict:
    """Whether a step's numbers are finite, on its way to the host.

    A number that is asked of a GPU waits for all that was asked of it before; this one waits for
    its own step alone.
    """

    def __init__(self, record: StepRecord) -> None:
        self._record = record
        numbers = [loss.isfinite().all() for loss in record.losses]
        finite = torch.stack([*numbers, record.gradient_norm.isfinite()])
        self._finite = finite.to("cpu", non_blocking=True)
        self._arrival = None
        if finite.device.type == "cuda":
            self._arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrival.record()

    def check(self) -> None:
        """Raise what `FiniteGuard.flush` does."""
        if self._arrival is not None:
            self._arrival.synchronize()
        *losses, norm = self._finite.tolist()
        if not (all(losses) and norm):
            raise ValueError(_message(self._record, losses))


def _message(record: StepRecord, finite: list[bool]) -> str:
    if all(finite):
        found = f"gradient norm {record.gradient_norm.item()}"
        names = [name for ids in record.ids for name in ids]
        where = "in the batch of"
    else:
        number = finite.index(False)
        wrong = ~record.losses[number].isfinite().cpu()
        found = f"loss {record.losses[number].cpu()[wrong][0].item()}"
        names = [name for name, bad in zip(record.ids[number], wrong.tolist(), strict=True) if bad]
        where = f"in a batch of {len(record.ids[number])} for"
    return (
        f"expected finite losses, found {found} at step {record.step} {where} {', '.join(names)}; "
        "start anew with a lower training.learning_rate or without these utterances, and --init to "
        "begin with the last validated weights (the last checkpoint is intact)"
    )
