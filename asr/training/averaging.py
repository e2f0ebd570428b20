"""Averages of weights over training, which are what is validated and kept."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from asr.model.attention import Attention
from asr.model.weights import read_weights
from asr.training.checkpoint import save_weights
from asr.training.config import TrainingConfig

_EPOCH_NAME = re.compile(r"epoch-(\d{5})\.safetensors")
EMA_WARMUP_STEPS = 10
"""The decay of step t is at most (1 + t) / (10 + t), so that the first weights fade quickly."""


def _local_tensors(model: nn.Module) -> dict[str, Tensor]:
    """This process's share of every parameter and buffer."""
    named = [*model.named_parameters(), *model.named_buffers()]
    persistent = set(model.state_dict())
    return {
        name: (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
        for name, tensor in named
        if name in persistent
    }


class ExponentialAverage:
    """Moving average of all floating-point state; whole numbers are copied.

    Args:
        model: The model on its device; the average starts from its weights.
        decay: Weight of the former average at each step, in 0 .. 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.restart()

    def restart(self) -> None:
        """Forget the average and take the model's weights."""
        self._current = _local_tensors(self._model)
        self.tensors = {name: tensor.clone() for name, tensor in self._current.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after an optimizer step (numbered from 1)."""
        decay = min(self._decay, (1 + step) / (EMA_WARMUP_STEPS + step))
        floating = [name for name, tensor in self.tensors.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self.tensors[name] for name in floating],
            [self._current[name] for name in floating],
            1 - decay,
        )
        for name in self.tensors.keys() - set(floating):
            self.tensors[name].copy_(self._current[name])

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Put the average into the model; its own weights return afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, tensor in self._current.items():
            kept = tensor.clone()
            tensor.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
        for module in self._model.modules():
            if isinstance(module, Attention):
                module.after_loading()


class EpochMean:
    """Equal-weight mean of the weights at the last epoch ends, kept as files.

    Args:
        folder: Where the files lie.
        epochs: Number of epoch ends.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self._folder = folder
        self._epochs = epochs

    def add(self, epoch: int, weights: dict[str, Tensor]) -> None:
        """Write the weights at the end of an epoch (numbered from 0)."""
        save_weights(self._folder / f"epoch-{epoch:05d}.safetensors", weights)

    def mean(self, epoch: int) -> dict[str, Tensor]:
        """Mean over the epoch ends up to `epoch`, summed in float64.

        Raises:
            FileNotFoundError: The file of an epoch is gone.
        """
        first = max(epoch + 1 - self._epochs, 0)
        sums: dict[str, Tensor] = {}
        last: dict[str, Tensor] = {}
        for number in range(first, epoch + 1):
            last = read_weights(self._folder / f"epoch-{number:05d}.safetensors")
            for name, tensor in last.items():
                sums[name] = tensor.double() + sums[name] if name in sums else tensor.double()
        return {
            name: (sums[name] / (epoch + 1 - first)).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in last.items()
        }

    def prune(self, epoch: int) -> None:
        """Remove files that no mean from `epoch` on will need."""
        for path in self._folder.iterdir():
            match = _EPOCH_NAME.fullmatch(path.name)
            if match and int(match[1]) <= epoch - self._epochs:
                path.unlink()


def weight_average(
    config: TrainingConfig, model: nn.Module, folder: Path
) -> ExponentialAverage | EpochMean | None:
    """The averaging that the config asks for."""
    if config.averaging == "ema":
        return ExponentialAverage(model, config.ema_decay)
    if config.averaging == "checkpoints":
        return EpochMean(folder, config.averaged_epochs)
    return None
