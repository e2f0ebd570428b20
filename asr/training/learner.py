"""One optimizer step: weights, optimizer and average, under Lightning's strategy."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from asr.model.trainable import Trainable
from asr.training.averaging import EpochMean, ExponentialAverage, weight_average
from asr.training.config import TrainingConfig
from asr.training.muon import Muon
from asr.training.objective import Objective, StepOutput, TrainingBatch
from asr.training.sharding import (
    full_optimizer_state,
    full_state,
    load_full_optimizer_state,
    load_full_state,
)


@dataclass(frozen=True, kw_only=True)
class BatchLosses:
    """What one batch gave in training, on the device and detached.

    Args:
        nats: (item,) float32, of each item.
        auxiliary: Scalar, sum of all other losses.
        consistency: Scalar, nats a label before its weight; None without it.
    """

    nats: Tensor
    auxiliary: Tensor
    consistency: Tensor | None


class Learner:
    """Everything that an optimizer step changes.

    Args:
        config: The training section.
        objective: The model with its first weights, on the CPU, and its losses.
        fabric: Lightning's launched engine.
        checkpoints: Folder of the files of `averaging = "checkpoints"`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        objective: Objective,
        *,
        fabric: Fabric,
        checkpoints: Path,
    ) -> None:
        self.model = model = objective.model
        self.objective = objective
        objective.to(fabric.device)
        self._config = config
        self._fabric = fabric
        self._step_module = fabric.setup_module(objective.step)
        self._optimizer = _optimizer(config, model)
        self._peak_rates = [group["lr"] for group in self._optimizer.param_groups]
        self.average = weight_average(config, model, checkpoints)

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def train_mode(self) -> None:
        """Dropout on, statistics of the batch."""
        self._step_module.train()

    def backward(self, batch: TrainingBatch, *, share: float, last: bool) -> BatchLosses:
        """Add the gradients of one batch.

        The loss is the mean over all labels of the batch: items count by their labels, so that the
        gradient's scale does not depend on how long the items of a batch are.

        Args:
            batch: The batch, on any device.
            share: Weight of this batch within the optimizer step.
            last: Whether the optimizer step follows, so that processes exchange gradients now.

        Returns:
            The batch's losses.
        """
        batch = batch.to(self._fabric.device)
        with self._fabric.no_backward_sync(self._step_module, enabled=not last):
            output = self._forward(batch, augment=True)
            loss = output.nats.sum() / batch.label_count.clamp(min=1) + output.auxiliary
            with warnings.catch_warnings():
                # DDP's remark about speed; kernels of width 1 have more than one right stride.
                warnings.filterwarnings("ignore", message="Grad strides do not match")
                self._fabric.backward(loss * share)
        return BatchLosses(
            nats=output.nats.detach(),
            auxiliary=output.auxiliary.detach(),
            consistency=output.consistency,
        )

    def step(self, factor: float) -> Tensor:
        """Clip, step at `factor` times the peak rate, and forget the gradients.

        Returns:
            Scalar, the 2-norm of all gradients before clipping.
        """
        limit = self._config.gradient_clip_norm or float("inf")
        norm = self._fabric.clip_gradients(
            self._step_module, self._optimizer, max_norm=limit, error_if_nonfinite=False
        )
        assert norm is not None
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def after_step(self, step: int) -> None:
        """What follows step `step` (from 1): the attention's own updates, then the average."""
        self.model.after_step()
        if isinstance(self.average, ExponentialAverage):
            self.average.update(step)

    @torch.no_grad()
    def evaluate(self, batch: TrainingBatch) -> StepOutput:
        """What the objective's step gives without augmentation."""
        self._step_module.eval()
        return self._forward(batch.to(self._fabric.device), augment=False)

    def _forward(self, batch: TrainingBatch, *, augment: bool) -> StepOutput:
        inputs = self.objective.inputs(batch, augment=augment)
        output: StepOutput = self._step_module(*inputs)
        return output

    def forget_gradients(self) -> None:
        """Drop all gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def optimizer_memory(self) -> Iterator[None]:
        """The optimizer holds in this context what it will from the first step on.

        For a learner that has made no step. The weights stay as they are.
        """
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.step(0.0)
        try:
            yield
        finally:
            self._optimizer.state.clear()

    @contextmanager
    def averaged(self, epoch: int) -> Iterator[None]:
        """The model holds the averaged weights in this context; `epoch` is the last that ended."""
        if isinstance(self.average, ExponentialAverage):
            with self.average.applied():
                yield
        elif isinstance(self.average, EpochMean):
            own = self.model_state()
            load_full_state(self.model, self.average.mean(epoch))
            try:
                yield
            finally:
                load_full_state(self.model, own)
        else:
            yield

    def model_state(self) -> dict[str, Tensor]:
        """Copies of the model's whole state on the CPU; to be called on all processes."""
        return full_state(self.model)

    def load_model_state(self, state: dict[str, Tensor]) -> None:
        """Take over a state that `model_state` gave."""
        load_full_state(self.model, state)

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizer's whole state; to be called on all processes."""
        return full_optimizer_state(self._optimizer)

    def average_state(self) -> dict[str, Tensor]:
        """State of the moving average; empty for what has none. To be called on all processes."""
        if not isinstance(self.average, ExponentialAverage):
            return {}
        with self.average.applied():
            return self.model_state()

    def load(
        self, *, model: dict[str, Tensor], optimizer: dict[str, Any], average: dict[str, Tensor]
    ) -> None:
        """Take over the states that the methods above gave."""
        if isinstance(self.average, ExponentialAverage):
            load_full_state(self.model, average)
            self.average.restart()
        load_full_state(self.model, model)
        load_full_optimizer_state(self._optimizer, optimizer)


def _optimizer(config: TrainingConfig, model: Trainable) -> Optimizer:
    rate, betas, epsilon = config.learning_rate, config.betas, config.epsilon
    groups = model.parameter_groups(learning_rate=rate, weight_decay=config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)
    matrices = model.block_matrices()
    own = {id(matrix) for matrix in matrices}
    for group in groups:
        group["params"] = [item for item in group["params"] if id(item) not in own]
    return Muon(
        matrices,
        groups,
        learning_rate=rate,
        weight_decay=config.weight_decay,
        betas=betas,
        epsilon=epsilon,
    )
