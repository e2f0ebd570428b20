"""Weights from safetensors files into models of exactly their architecture."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import load_file
from torch import Tensor, nn

_SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights onto the CPU.

    Args:
        path: A safetensors file.

    Returns:
        The tensors by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected weights at {path}, found no file; give the folder of a finished training"
        )
    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path}: expected weights in safetensors format, found a damaged file ({error}); "
            "copy it anew from the experiment"
        ) from None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, path: Path) -> None:
    """Put weights into a model; it is changed only if all of them fit.

    Args:
        model: The model.
        weights: Tensors by name, as in the model's state.
        path: Where the weights are from, for messages.

    Raises:
        ValueError: Names or shapes are not the model's.
    """
    expected, found = _shapes(model.state_dict()), _shapes(weights)
    differences = [
        f"{name} ({found.get(name, 'nothing')} instead of {expected.get(name, 'nothing')})"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ValueError(
            f"{path}: expected the weights of the configured architecture, found others in "
            f"{', '.join(differences[:_SHOWN])}{more}; set [model] and the tokenizer as in the "
            "experiment that the weights are from"
        )
    model.load_state_dict(weights)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in weights.items()}
