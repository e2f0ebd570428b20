"""Language models as decoding and scoring use them, whatever their kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.token_stream import TextDataConfig
from asr.devices import AUTO, find_device
from asr.files import CONFIG_FILE, LM_DESCRIPTION_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from asr.lm.neural import NeuralLanguageModel
from asr.lm.ngram import NgramLanguageModel, load_ngram, read_description
from asr.lm.scorer import Scorer
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.model.weights import load_weights, read_weights
from asr.schema import parse, read_toml
from asr.tokens.tokenizer import Tokenizer

Sentences = Sequence[NDArray[np.int32]]


class LoadedLanguageModel(Protocol):
    """A language model over token pieces, on a device."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Gives the labels."""
        ...

    def scorer(self) -> Scorer[Any]:
        """What a beam search asks.

        Raises:
            ValueError: The model cannot be asked token by token.
        """
        ...

    def sentence_log_probs(self, sentences: Sentences) -> Tensor:
        """Natural log-probability of each sentence, its end included: (sentence,) float64."""
        ...

    def stream_log_prob(
        self, sentences: Sentences, *, segment_tokens: int, memory_tokens: int
    ) -> float:
        """Natural log-probability of a text whose sentences see what is before them.

        Raises:
            ValueError: The model sees nothing beyond a sentence.
        """
        ...


def load_language_model(folder: Path, *, device: str = AUTO) -> LoadedLanguageModel:
    """Load what `asr lm train` wrote.

    Args:
        folder: The folder.
        device: Where the model runs, as torch names it; "auto" is CUDA where torch has it.

    Returns:
        The language model.

    Raises:
        FileNotFoundError: The folder or a file in it is missing.
        ValueError: A file is damaged, does not belong to the others, or is of no known type, or
            torch cannot use the device.
    """
    kind = str(read_description(folder).get("type"))
    if kind not in _TYPES:
        raise ValueError(
            f"{folder / LM_DESCRIPTION_FILE}: expected type to be one of {sorted(_TYPES)}, found "
            f"{kind!r}; give a folder that `asr lm train` wrote"
        )
    return _TYPES[kind](folder, find_device(device))


def _load_ngram(folder: Path, device: torch.device) -> NgramLanguageModel:
    loaded = load_ngram(folder)
    return replace(loaded, table=loaded.table.to(device))


def _load_transformer(folder: Path, device: torch.device) -> NeuralLanguageModel:
    path = folder / CONFIG_FILE
    tables = read_toml(path)
    try:
        model_config = parse(LanguageModelConfig, tables.get("model", {}), where="model")
        data_config = parse(TextDataConfig, tables.get("data", {}), where="data")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    digest = str(read_description(folder).get("tokenizer_sha256"))
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE, digest=digest)
    model = LanguageModel(model_config, vocab_size=tokenizer.vocab_size)
    weights = folder / WEIGHTS_FILE
    load_weights(model, read_weights(weights), path=weights)
    return NeuralLanguageModel(tokenizer, model.to(device).eval(), data_config.segment_tokens)


_TYPES: Mapping[str, Callable[[Path, torch.device], LoadedLanguageModel]] = {
    "ngram": _load_ngram,
    "transformer": _load_transformer,
}
