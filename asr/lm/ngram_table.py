"""A back-off model as tensors: scores of all next token pieces for a batch of hypotheses."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.lm.arpa import SENTENCE_BEGIN, SENTENCE_END, NgramModel

_BEGIN = 0
_SHOWN = 5
_SENTENCES_AT_A_TIME = 4096


class NgramState(NamedTuple):
    """What the table remembers of each hypothesis.

    Args:
        contexts: (hypothesis, order) int64. Column k holds the number of the context that the last
            k tokens make, or the number of no context where the model lacks it.
    """

    contexts: Tensor

    def select(self, index: Tensor) -> "NgramState":
        """The states of the hypotheses in `index`, (hypothesis,) int64."""
        return NgramState(self.contexts[index])


class NgramTable(nn.Module):
    """Scores hypotheses by an n-gram model over token pieces; piece p has label p + 1.

    Tokens are numbered as in `estimate`: `<s>` is 0, the labels are 1 .. N, `</s>` is N + 1. The
    n-grams lie in one row, by order, then by their tokens. As a context the empty n-gram has number
    0, n-gram i number i + 1, and what the model lacks the number after the last. The key of an
    n-gram is its context's number times the number of tokens, plus its last token. So keys ascend,
    and the n-grams of context c are those from `first[c]` up to `first[c + 1]`.

    Args:
        model: Its words are `<s>`, `</s>` and the pieces, in any order.
        pieces: The token pieces, in the order of the labels.

    Raises:
        ValueError: The model is over other words, lacks the context of an n-gram, or has an n-gram
            twice.
    """

    keys: Tensor
    first: Tensor
    log_probs: Tensor
    backoffs: Tensor

    def __init__(self, model: NgramModel, pieces: Sequence[str]) -> None:
        super().__init__()
        self.order = len(model.orders)
        self.vocab_size = len(pieces)
        self._tokens = len(pieces) + 2
        token_of_word = _token_of_word(model.words, pieces)
        keys: list[NDArray[np.int64]] = []
        log_probs, backoffs = [], []
        for order in model.orders:
            unsorted = _keys(token_of_word[order.grams], shorter=keys, tokens=self._tokens)
            ranking = np.argsort(unsorted, kind="stable")
            keys.append(unsorted[ranking])
            if (keys[-1][1:] == keys[-1][:-1]).any():
                raise ValueError(
                    f"expected each n-gram once, found a {len(keys)}-gram twice; make the language "
                    "model anew"
                )
            log_probs.append(order.log_probs[ranking])
            backoffs.append(order.backoffs[ranking])
        self._missing = 1 + sum(map(len, keys[:-1]))
        row = np.concatenate(keys)
        first = np.searchsorted(row, np.arange(self._missing + 2) * self._tokens)
        # Most n-grams of a context, by the context's length.
        bounds = np.cumsum([0, 1, *map(len, keys[:-1])])
        followers = np.diff(first)
        self._most = [int(followers[a:b].max()) for a, b in pairwise(bounds)]
        zero = np.zeros(1, dtype=np.float32)
        self.register_buffer("keys", torch.from_numpy(row), persistent=False)
        self.register_buffer("first", torch.from_numpy(first), persistent=False)
        self.register_buffer(
            "log_probs", torch.from_numpy(np.concatenate(log_probs)), persistent=False
        )
        self.register_buffer(
            "backoffs",
            torch.from_numpy(np.concatenate([zero, *backoffs[:-1], zero])),
            persistent=False,
        )

    def start(self, hypotheses: int) -> NgramState:
        """The state of empty hypotheses, whose context is `<s>`."""
        contexts = self.keys.new_full((hypotheses, self.order), self._missing)
        contexts[:, 0] = 0
        return self.advance(NgramState(contexts), contexts.new_full((hypotheses,), _BEGIN))

    def scores(self, state: NgramState) -> Tensor:
        """Score every piece as each hypothesis's next.

        Args:
            state: The hypotheses.

        Returns:
            (hypothesis, piece) float32, log-probability, natural logarithm.
        """
        # Every token is a unigram. Column 0, of the token that is never next, takes what is void.
        scores = self.log_probs[: self._tokens].repeat(len(state.contexts), 1)
        for length in range(1, self.order):
            context = state.contexts[:, length, None]
            place = self.first[context] + torch.arange(self._most[length], device=context.device)
            # (hypothesis, n-gram of its context)
            void = place >= self.first[context + 1]
            place = place.clamp(max=len(self.keys) - 1)
            token = (self.keys[place] - context * self._tokens).masked_fill(void, _BEGIN)
            scores += self.backoffs[context]
            scores.scatter_(1, token, self.log_probs[place])
        return scores[:, 1:-1]

    def advance(self, state: NgramState, labels: Tensor) -> NgramState:
        """Append a piece to each hypothesis.

        Args:
            state: The hypotheses.
            labels: (hypothesis,) int64 in 1 .. N.

        Returns:
            Their new state.
        """
        places, there = self._find(state.contexts[:, :-1], labels)
        contexts = torch.where(there, places + 1, self._missing)
        return NgramState(nn.functional.pad(contexts, (1, 0)))

    def end(self, state: NgramState) -> Tensor:
        """Log-probability that each hypothesis ends, (hypothesis,) float32, natural logarithm."""
        return self._next(state, self.keys.new_full((len(state.contexts),), self._tokens - 1))

    def sentence_log_probs(self, sentences: Sequence[NDArray[np.int32]]) -> Tensor:
        """Score whole sentences, the end included.

        Args:
            sentences: Tensors (token,) of labels 1 .. N.

        Returns:
            (sentence,) float64 on the CPU, log-probability, natural logarithm.
        """
        # Sentences of similar length together, so that little is padded.
        order = sorted(range(len(sentences)), key=lambda index: -len(sentences[index]))
        log_probs = torch.empty(len(sentences), dtype=torch.float64)
        for begin in range(0, len(order), _SENTENCES_AT_A_TIME):
            batch = order[begin : begin + _SENTENCES_AT_A_TIME]
            rows = [torch.from_numpy(sentences[index]).long() for index in batch]
            log_probs[batch] = self._batch_log_probs(rows)
        return log_probs

    def _batch_log_probs(self, rows: list[Tensor]) -> Tensor:
        """Log-probabilities (sentence,) float64 of sentences whose lengths do not rise."""
        labels = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.keys.device)
        lengths = torch.tensor([len(row) for row in rows])
        totals = torch.zeros(len(rows), dtype=torch.float64)
        state = self.start(len(rows))
        for step in range(labels.shape[1] + 1):
            going = int((lengths > step).sum())
            ended = NgramState(state.contexts[going:])
            totals[going : len(state.contexts)] += self.end(ended).double().cpu()
            if going:
                state, label = NgramState(state.contexts[:going]), labels[:going, step]
                totals[:going] += self._next(state, label).double().cpu()
                state = self.advance(state, label)
        return totals

    def _find(self, contexts: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the n-grams of contexts (hypothesis, length) and tokens; which are there."""
        wanted = contexts * self._tokens + tokens[:, None]
        places = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return places, self.keys[places] == wanted

    def _next(self, state: NgramState, tokens: Tensor) -> Tensor:
        """Log-probability (hypothesis,) that one token is each hypothesis's next."""
        places, there = self._find(state.contexts, tokens)
        length = torch.arange(self.order, device=tokens.device)
        longest = torch.where(there, length, 0).amax(dim=1, keepdim=True)
        backed_off = self.backoffs[state.contexts].masked_fill(length <= longest, 0.0)
        found = places.gather(1, longest).squeeze(1)
        return self.log_probs[found] + backed_off.sum(dim=1)


def _token_of_word(words: Sequence[str], pieces: Sequence[str]) -> NDArray[np.int64]:
    tokens = {word: token for token, word in enumerate([SENTENCE_BEGIN, *pieces, SENTENCE_END])}
    foreign, lacking = set(words) - tokens.keys(), tokens.keys() - set(words)
    if foreign or lacking:
        raise ValueError(
            f"expected a language model over the {len(pieces)} token pieces, found one that lacks "
            f"{len(lacking)} of them {sorted(lacking)[:_SHOWN]} and has {len(foreign)} other words "
            f"{sorted(foreign)[:_SHOWN]}; train it with this tokenizer"
        )
    return np.array([tokens[word] for word in words], dtype=np.int64)


def _keys(
    grams: NDArray[np.int64], *, shorter: Sequence[NDArray[np.int64]], tokens: int
) -> NDArray[np.int64]:
    """Keys of n-grams (ngram, n), whose contexts are found in the sorted keys of each order."""
    contexts = np.zeros(len(grams), dtype=np.int64)
    number = 1
    for column, keys in enumerate(shorter):
        wanted = contexts * tokens + grams[:, column]
        places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        if (keys[places] != wanted).any():
            raise ValueError(
                f"expected the context of every {grams.shape[1]}-gram among the "
                f"{grams.shape[1] - 1}-grams, found one without; make the language model anew"
            )
        contexts = number + places
        number += len(keys)
    return contexts * tokens + grams[:, -1]
