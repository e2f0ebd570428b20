"""One optimizer step against the same step by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from asr.model.trainable import Trainable
from asr.training.averaging import ExponentialAverage
from asr.training.config import TrainingConfig
from asr.training.learner import Learner
from asr.training.objective import Objective, StepOutput

_CONFIG = TrainingConfig(
    epochs=1,
    learning_rate=0.1,
    weight_decay=0.3,
    betas=(0.5, 0.6),
    epsilon=1e-2,
    gradient_clip_norm=0.05,
    schedule="noam",
    warmup_steps=1,
    averaging="none",
)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Numbers (item, 2) and what is to be made of them, with three labels an item."""

    x: Tensor
    y: Tensor

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple("abcd"[: len(self.y)])

    @property
    def label_count(self) -> Tensor:
        return torch.tensor(3 * len(self.y))

    @property
    def size(self) -> str:
        return f"{len(self.y)} pairs"

    def to(self, device: torch.device) -> "_Pairs":
        return self


class _Model(Trainable):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.5, -1.0], [2.0, 0.3]]))
        self.bias = nn.Parameter(torch.tensor([0.2, -0.4]))
        self.stepped = 0

    def after_step(self) -> None:
        self.stepped += 1


class _Step(nn.Module):
    def __init__(self, model: _Model) -> None:
        super().__init__()
        self.model = model
        self.modes: list[bool] = []

    def forward(self, x: Tensor, y: Tensor) -> StepOutput:
        self.modes.append(self.training)
        nats = ((x @ self.model.matrix + self.model.bias).sum(dim=1) - y).square()
        return StepOutput(nats=nats, auxiliary=self.model.matrix.square().sum())


class _Regression(Objective):
    speed = "pairs"
    batch_setting = "none"

    def inputs(self, batch: _Pairs, *, augment: bool) -> tuple[Tensor, ...]:
        return batch.x, batch.y

    def amount(self, batch: _Pairs) -> Tensor:
        return batch.label_count


@pytest.fixture
def batches() -> Iterator[_Pairs]:
    generator = torch.Generator().manual_seed(0)

    def drawn() -> Iterator[_Pairs]:
        while True:
            numbers = torch.randn(4, 3, generator=generator)
            yield _Pairs(x=numbers[:, :2], y=numbers[:, 2])

    return drawn()


def _learner(folder: Path, **changes: Any) -> Learner:  # noqa: ANN401
    model = _Model()
    fabric = Fabric(accelerator="cpu", devices=1)
    return Learner(
        replace(_CONFIG, **changes),
        _Regression(model, _Step(model)),
        fabric=fabric,
        checkpoints=folder,
    )


def _loss(model: _Model, batch: _Pairs) -> Tensor:
    output = _Step(model)(batch.x, batch.y)
    loss: Tensor = output.nats.sum() / 12 + output.auxiliary
    return loss


def test_gradients_are_those_of_the_mean_over_labels_and_of_the_auxiliary_loss(
    tmp_path: Path, batches: Iterator[_Pairs]
) -> None:
    learner, model = _learner(tmp_path), _Model()
    for share in (0.75, 0.25):
        batch = next(batches)
        learner.backward(batch, share=share, last=True)
        torch.autograd.backward(share * _loss(model, batch))
    for ours, expected in zip(learner.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad)


def test_steps_are_adamws_at_the_scheduled_rate(tmp_path: Path, batches: Iterator[_Pairs]) -> None:
    learner, model = _learner(tmp_path), _Model()
    settings = {"betas": (0.5, 0.6), "eps": 1e-2}
    matrix = torch.optim.AdamW([model.matrix], weight_decay=0.3, **settings)  # type: ignore[arg-type]
    bias = torch.optim.AdamW([model.bias], weight_decay=0.0, **settings)  # type: ignore[arg-type]
    for factor in (0.5, 1.0, 0.2):
        batch = next(batches)
        learner.backward(batch, share=1.0, last=True)
        found = learner.step(factor)
        torch.autograd.backward(_loss(model, batch))
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        assert norm > 0.05
        torch.testing.assert_close(found, norm)
        for optimizer in (matrix, bias):
            optimizer.param_groups[0]["lr"] = 0.1 * factor
            optimizer.step()
            optimizer.zero_grad()
    for ours, expected in zip(learner.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_optimizer_can_take_its_memory_before_the_first_step(tmp_path: Path) -> None:
    learner = _learner(tmp_path)
    with learner.optimizer_memory():
        held = [entry["exp_avg"] for entry in learner.optimizer_state()["state"].values()]
        assert sorted(tensor.numel() for tensor in held) == [2, 4]
        assert all(parameter.grad is None for parameter in learner.model.parameters())
    assert not learner.optimizer_state()["state"]
    for ours, first in zip(learner.model.parameters(), _Model().parameters(), strict=True):
        assert torch.equal(ours, first)


def test_what_is_validated_and_kept_is_the_average(
    tmp_path: Path, batches: Iterator[_Pairs]
) -> None:
    learner = _learner(tmp_path, averaging="ema", ema_decay=0.9)
    for step in (1, 2):
        learner.backward(next(batches), share=1.0, last=True)
        learner.step(1.0)
        learner.after_step(step)
    assert isinstance(learner.average, ExponentialAverage)
    own, mean = learner.model_state(), learner.average.tensors["matrix"].clone()
    with learner.averaged(0):
        assert torch.equal(learner.model_state()["matrix"], mean)
    assert torch.equal(learner.model_state()["matrix"], own["matrix"])
    assert not torch.equal(own["matrix"], mean)


def test_the_model_hears_of_each_step_and_is_evaluated_at_rest(
    tmp_path: Path, batches: Iterator[_Pairs]
) -> None:
    learner = _learner(tmp_path)
    learner.train_mode()
    learner.backward(next(batches), share=1.0, last=True)
    learner.after_step(1)
    learner.evaluate(next(batches))
    assert isinstance(learner.model, _Model)
    assert learner.model.stepped == 1
    assert isinstance(learner.objective.step, _Step)
    assert learner.objective.step.modes == [True, False]
