"""First weights from another experiment or bundle."""

import logging
from pathlib import Path

from asr.ctc import CtcModel
from asr.files import WEIGHTS_FILE
from asr.model.weights import load_weights, read_weights

logger = logging.getLogger(__name__)

_HEAD = "head."


def initialise_from(model: CtcModel, source: Path, *, same_tokenizer: bool) -> None:
    """Copy weights into a model.

    Args:
        model: The model to change; its head keeps its own first weights where the tokens differ.
        source: Folder with `model.safetensors`.
        same_tokenizer: Whether the labels mean the same in both.

    Raises:
        FileNotFoundError: There are no weights.
        ValueError: They are damaged or belong to another architecture.
    """
    path = source / WEIGHTS_FILE
    weights = read_weights(path)
    if not same_tokenizer:
        logger.info("new CTC head: %s has another tokenizer", source)
        weights = {name: value for name, value in weights.items() if not name.startswith(_HEAD)}
        own = model.state_dict()
        weights |= {name: value for name, value in own.items() if name.startswith(_HEAD)}
    load_weights(model, weights, path=path)
