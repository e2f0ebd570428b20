"""Language models as decoding and scoring use them, whatever their kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.config import LanguageModelExperimentConfig, load_config_as
from asr.data.token_stream import join_sentences
from asr.decoding.neural_scorer import NeuralScorer, sentence_log_probs, stream_log_prob
from asr.decoding.scorer import Scorer
from asr.devices import find_device
from asr.files import CONFIG_FILE, LM_DESCRIPTION_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from asr.model.language_model import LanguageModel
from asr.model.weights import load_weights, read_weights
from asr.ngram.model import load_ngram, read_description
from asr.ngram.table import NgramTable
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


@dataclass(frozen=True)
class NgramLanguageModel:
    """Back-off n-grams.

    Args:
        tokenizer: Gives the labels.
        table: The n-grams.
    """

    tokenizer: Tokenizer
    table: NgramTable

    def scorer(self) -> Scorer[Any]:
        """The table itself."""
        return self.table

    def sentence_log_probs(self, sentences: Sentences) -> Tensor:
        """See LoadedLanguageModel."""
        return self.table.sentence_log_probs(sentences)

    def stream_log_prob(
        self, sentences: Sentences, *, segment_tokens: int, memory_tokens: int
    ) -> float:
        """Refused.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "expected a transformer with --segment-tokens, found an n-gram model, which sees "
            "nothing beyond a sentence; leave the option out"
        )


@dataclass(frozen=True)
class NeuralLanguageModel:
    """A Transformer.

    Args:
        tokenizer: Gives the labels.
        model: In evaluation mode.
        context_tokens: Tokens that a beam search lets it see, as many as in training.
    """

    tokenizer: Tokenizer
    model: LanguageModel
    context_tokens: int

    def scorer(self) -> Scorer[Any]:
        """A scorer with a cache of the training's segment length, or a little more.

        Raises:
            ValueError: The attention carries no state.
        """
        can = self.model.capabilities
        context = -(-self.context_tokens // can.period) * can.period
        return NeuralScorer(self.model, context_tokens=context if can.forgets else None)

    def sentence_log_probs(self, sentences: Sentences) -> Tensor:
        """See LoadedLanguageModel."""
        return sentence_log_probs(self.model, sentences)

    def stream_log_prob(
        self, sentences: Sentences, *, segment_tokens: int, memory_tokens: int
    ) -> float:
        """See LoadedLanguageModel."""
        return stream_log_prob(
            self.model,
            join_sentences(sentences),
            segment_tokens=segment_tokens,
            memory_tokens=memory_tokens,
        )


def load_language_model(folder: Path, *, device: str = "cpu") -> LoadedLanguageModel:
    """Load what `asr lm train` wrote.

    Args:
        folder: The folder.
        device: Where the model runs, as torch names it.

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
    return NgramLanguageModel(loaded.tokenizer, loaded.table.to(device))


def _load_transformer(folder: Path, device: torch.device) -> NeuralLanguageModel:
    config = load_config_as(LanguageModelExperimentConfig, folder / CONFIG_FILE)
    digest = str(read_description(folder).get("tokenizer_sha256"))
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE, digest=digest)
    model = LanguageModel(config.model, vocab_size=tokenizer.vocab_size)
    weights = folder / WEIGHTS_FILE
    load_weights(model, read_weights(weights), path=weights)
    return NeuralLanguageModel(tokenizer, model.to(device).eval(), config.data.segment_tokens)


_TYPES: Mapping[str, Callable[[Path, torch.device], LoadedLanguageModel]] = {
    "ngram": _load_ngram,
    "transformer": _load_transformer,
}
