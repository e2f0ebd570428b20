"""Neural language models: in a beam search, and their scores of whole sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

from asr.data.token_stream import join_sentences
from asr.lm.scorer import Scorer
from asr.model.attention import causal
from asr.model.attention.softmax import SoftmaxState
from asr.model.language_model import BOUNDARY, LanguageModel, LanguageModelState
from asr.tokens.tokenizer import Tokenizer

_TOKENS_AT_ONCE = 8192


class NeuralState(tuple[Tensor, ...]):
    """What the scorer keeps of each hypothesis, hypothesis first.

    First the (hypothesis, N + 1) log-probabilities of what comes next, then the language model's
    own state.
    """

    __slots__ = ()

    def __new__(cls, *tensors: Tensor) -> Self:
        """Made like a NamedTuple."""
        return super().__new__(cls, tensors)

    def select(self, index: Tensor) -> "NeuralState":
        """The state of chosen hypotheses (hypothesis,) int64, in that order."""
        return NeuralState(*(tensor.index_select(0, index) for tensor in self))


class NeuralScorer:
    """Scores each next token piece; see asr.lm.scorer.Scorer.

    Every hypothesis carries a cache of the same size, whatever its length, so that those that have
    grown can be joined with those that have not.

    Args:
        model: In evaluation mode.
        context_tokens: How many tokens before the present one are seen; None where the attention's
            state does not grow anyway.

    Raises:
        ValueError: The attention carries no state.
    """

    def __init__(self, model: LanguageModel, *, context_tokens: int | None) -> None:
        self.model = model.eval()
        self._mode = causal(context_tokens)
        self._context_tokens = context_tokens or 0
        self._first, self._structure, self._is_tensor = self._begin()

    @torch.inference_mode()
    def _begin(self) -> tuple[NeuralState, pytree.TreeSpec, list[bool]]:
        """The state of one empty hypothesis, and how its tensors make the model's state."""
        device = self.model.bias.device
        boundary = torch.full((1, 1), BOUNDARY, device=device)
        one = torch.ones(1, dtype=torch.int64, device=device)
        state = self._empty_cache() if self._context_tokens else None
        output = self.model(boundary, one, mode=self._mode, state=state)
        leaves, structure = pytree.tree_flatten(output.state)
        is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return NeuralState(output.log_probs[:, -1], *tensors), structure, is_tensor

    def _empty_cache(self) -> LanguageModelState:
        """The state after as many tokens as the cache holds, none of them real."""
        nothing = torch.full((1, self._context_tokens), BOUNDARY, device=self.model.bias.device)
        lengths = torch.zeros(1, dtype=torch.int64, device=nothing.device)
        state: LanguageModelState = self.model(nothing, lengths, mode=self._mode).state
        # What was there before the sentence is not to be seen by convolutions either.
        branches = tuple(
            branch._replace(tail=torch.zeros_like(branch.tail))
            if isinstance(branch, SoftmaxState)
            else branch
            for branch in state.branches
        )
        return state._replace(branches=branches)

    def start(self, hypotheses: int) -> NeuralState:
        """The state of so many empty hypotheses."""
        first = torch.zeros(hypotheses, dtype=torch.int64, device=self._first[0].device)
        return self._first.select(first)

    def scores(self, state: NeuralState) -> Tensor:
        """(hypothesis, piece) natural log-probability of label `piece + 1`."""
        return state[0][:, 1:]

    @torch.inference_mode()
    def advance(self, state: NeuralState, labels: Tensor) -> NeuralState:
        """The state after one more label (hypothesis,) each."""
        output = self.model(
            labels.unsqueeze(1),
            torch.ones_like(labels),
            mode=self._mode,
            state=self._of_model(state),
        )
        leaves = pytree.tree_leaves(output.state)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return NeuralState(output.log_probs[:, -1], *tensors)

    def end(self, state: NeuralState) -> Tensor:
        """(hypothesis,) natural log-probability that the sentence ends here."""
        return state[0][:, BOUNDARY]

    def _of_model(self, state: NeuralState) -> LanguageModelState:
        tensors = iter(state[1:])
        leaves = [next(tensors) if is_tensor else None for is_tensor in self._is_tensor]
        restored: LanguageModelState = pytree.tree_unflatten(leaves, self._structure)
        return restored


@torch.inference_mode()
def sentence_log_probs(model: LanguageModel, sentences: Sequence[NDArray[np.int32]]) -> Tensor:
    """Score whole sentences, each for itself.

    Args:
        model: In evaluation mode.
        sentences: Labels (token,) of each, in 1 .. N.

    Returns:
        (sentence,) float64 on the CPU, natural log-probability of the labels and the end.
    """
    device = model.bias.device
    scores = torch.zeros(len(sentences), dtype=torch.float64)
    for batch in _batches([len(sentence) + 1 for sentence in sentences]):
        labels = [torch.from_numpy(sentences[index].astype(np.int64)) for index in batch]
        boundary = torch.full((1,), BOUNDARY)
        inputs = pad_sequence([torch.cat([boundary, each]) for each in labels], batch_first=True)
        targets = pad_sequence([torch.cat([each, boundary]) for each in labels], batch_first=True)
        lengths = torch.tensor([len(each) + 1 for each in labels])
        log_probs = model(inputs.to(device), lengths.to(device)).log_probs.cpu()
        chosen = log_probs.gather(2, targets.unsqueeze(2)).squeeze(2).double()
        real = torch.arange(inputs.shape[1]) < lengths.unsqueeze(1)
        scores[batch] = chosen.masked_fill(~real, 0.0).sum(dim=1)
    return scores


@torch.inference_mode()
def stream_log_prob(
    model: LanguageModel, stream: Tensor, *, segment_tokens: int, memory_tokens: int
) -> float:
    """Score a text as one stream, segment by segment, each seeing what the memory holds.

    Args:
        model: In evaluation mode.
        stream: (token,) int64, from `asr.data.token_stream.join_sentences`.
        segment_tokens: Tokens of a segment.
        memory_tokens: Tokens before a token that it sees, at most, its own segment's included; 0
            sees its own segment alone.

    Returns:
        Natural log-probability of all labels after the first.

    Source: Dai et al. 2019, section 3.2 (memory).
    """
    device = model.bias.device
    mode = causal(memory_tokens or None)
    state: LanguageModelState | None = None
    total = 0.0
    for start in range(0, len(stream) - 1, segment_tokens):
        part = stream[start : start + segment_tokens + 1].to(device).unsqueeze(0)
        lengths = torch.tensor([part.shape[1] - 1], device=device)
        output = model(part[:, :-1], lengths, mode=mode, state=state if memory_tokens else None)
        state = output.state
        chosen = output.log_probs.gather(2, part[:, 1:].unsqueeze(2))
        total += float(chosen.double().sum())
    return total


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of sentences of similar length."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


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

    def sentence_log_probs(self, sentences: Sequence[NDArray[np.int32]]) -> Tensor:
        """See LoadedLanguageModel."""
        return sentence_log_probs(self.model, sentences)

    def stream_log_prob(
        self, sentences: Sequence[NDArray[np.int32]], *, segment_tokens: int, memory_tokens: int
    ) -> float:
        """See LoadedLanguageModel."""
        return stream_log_prob(
            self.model,
            join_sentences(sentences),
            segment_tokens=segment_tokens,
            memory_tokens=memory_tokens,
        )
