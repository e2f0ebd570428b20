"""Language models over token pieces, whatever their type, as decoding and scoring use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.scorer import Scorer
from asr.ngram.model import DESCRIPTION_FILE, load_ngram, read_description
from asr.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class LoadedLanguageModel:
    """A language model on a device.

    Args:
        tokenizer: Its pieces are what the model scores.
        scorer: What a beam search asks.
        sentence_log_probs: Scores whole sentences: tensors (token,) of labels 1 .. N to (sentence,)
            float64 on the CPU, natural log-probability with the end.
    """

    tokenizer: Tokenizer
    scorer: Scorer[Any]
    sentence_log_probs: Callable[[Sequence[NDArray[np.int32]]], Tensor]


def load_language_model(folder: Path, device: str | torch.device = "cpu") -> LoadedLanguageModel:
    """Load what `asr lm train` wrote.

    Args:
        folder: The folder.
        device: Where the model runs.

    Returns:
        The language model.

    Raises:
        FileNotFoundError: The folder or a file in it is missing.
        ValueError: A file is damaged, does not belong to the others or is of an unknown type.
    """
    kind = str(read_description(folder).get("type"))
    if kind not in _TYPES:
        raise ValueError(
            f"{folder / DESCRIPTION_FILE}: expected type to be one of {sorted(_TYPES)}, found "
            f"{kind!r}; give a folder that `asr lm train` wrote"
        )
    return _TYPES[kind](folder, device)


def _load_ngram(folder: Path, device: str | torch.device) -> LoadedLanguageModel:
    model = load_ngram(folder)
    table = model.table.to(device)
    return LoadedLanguageModel(
        tokenizer=model.tokenizer, scorer=table, sentence_log_probs=table.sentence_log_probs
    )


_TYPES: Mapping[str, Callable[[Path, str | torch.device], LoadedLanguageModel]] = {
    "ngram": _load_ngram
}
