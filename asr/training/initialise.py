"""First weights from another experiment or bundle."""

import logging
from pathlib import Path

import torch

from asr.model.ctc_model import CtcModel
from asr.training.checkpoint import load_weights

logger = logging.getLogger(__name__)

_SHOWN = 3


@torch.no_grad()
def initialise_from(model: CtcModel, source: Path, *, same_tokenizer: bool) -> None:
    """Copy weights into a model.

    Args:
        model: The model to change; its head keeps its own first weights where the tokens differ.
        source: Folder with `model.safetensors`.
        same_tokenizer: Whether the labels mean the same in both.

    Raises:
        FileNotFoundError: There are no weights.
        ValueError: They belong to another architecture.
    """
    weights = load_weights(source / "model.safetensors")
    own = model.state_dict()
    head = {name for name in own if name.startswith("head.")}
    if not same_tokenizer:
        logger.info("new CTC head: %s has another tokenizer", source)
        weights = {name: value for name, value in weights.items() if not name.startswith("head.")}
        own = {name: value for name, value in own.items() if name not in head}
    differences = [
        f"{name} ({_shape(weights, name)} instead of {_shape(own, name)})"
        for name in sorted(own.keys() | weights.keys())
        if _shape(own, name) != _shape(weights, name)
    ]
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ValueError(
            f"expected weights of the config's architecture in {source}, found another in "
            f"{', '.join(differences[:_SHOWN])}{more}; set [model] as in that experiment's config"
        )
    for name, tensor in own.items():
        tensor.copy_(weights[name])


def _shape(state: dict[str, torch.Tensor], name: str) -> str:
    return "x".join(map(str, state[name].shape)) or "scalar" if name in state else "nothing"
