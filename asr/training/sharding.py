"""Whole states of a model and its optimizer, wherever their shares lie."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's whole state on the CPU; collective where the model is sharded."""
    return {name: _whole(tensor) for name, tensor in model.state_dict().items()}


@torch.no_grad()
def load_full_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a whole state into a model, each process taking its share.

    Raises:
        ValueError: The names differ from the model's.
    """
    own = model.state_dict()
    if own.keys() != state.keys():
        raise ValueError(
            f"expected the weights of this model, found others (first difference: "
            f"{min(own.keys() ^ state.keys())}); use the config that they were trained with"
        )
    # Torch's own way, since modules follow it by hooks.
    model.load_state_dict({name: _share(state[name], tensor) for name, tensor in own.items()})


def full_optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's whole state on the CPU; a collective operation where it is sharded."""
    state = optimizer.state_dict()
    return {
        "state": {
            number: {
                name: _whole(value) if isinstance(value, Tensor) else value
                for name, value in item.items()
            }
            for number, item in state["state"].items()
        },
        "param_groups": state["param_groups"],
    }


def load_full_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Put a whole state into an optimizer, each process taking its share."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shares = {
        number: {
            name: _share(value, parameters[number])
            if isinstance(value, Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in item.items()
        }
        for number, item in state["state"].items()
    }
    optimizer.load_state_dict({"state": shares, "param_groups": state["param_groups"]})


def _whole(tensor: Tensor) -> Tensor:
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().to("cpu", copy=True)


def _share(tensor: Tensor, like: Tensor) -> Tensor:
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
