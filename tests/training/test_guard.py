import pytest
import torch
from torch import Tensor

from asr.training.guard import FiniteGuard, StepRecord


def _record(step: int, losses: list[Tensor], norm: float = 1.0) -> StepRecord:
    return StepRecord(
        step=step, ids=[("a", "b"), ("c", "d")], losses=losses, gradient_norm=torch.tensor(norm)
    )


_FINE = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]


def test_bad_utterance_is_named() -> None:
    guard = FiniteGuard()
    guard.add(_record(6, _FINE))
    guard.add(_record(7, [_FINE[0], torch.tensor([1.0, torch.inf])]))
    with pytest.raises(ValueError, match="found loss inf at step 7 in a batch of 2 for d; start"):
        guard.flush()
    guard.flush()


def test_step_is_checked_when_the_next_one_comes() -> None:
    guard = FiniteGuard()
    guard.add(_record(1, _FINE, norm=torch.nan))
    with pytest.raises(ValueError, match="gradient norm nan at step 1 in the batch of a, b, c, d"):
        guard.add(_record(2, _FINE))
