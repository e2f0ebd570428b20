"""How a language model enters a beam search: batched scores of the next token piece."""

from collections.abc import Iterator
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor


class ScorerState(Protocol):
    """What a scorer keeps of each hypothesis: a NamedTuple of tensors, hypothesis first.

    The other axes have the same size before and after `Scorer.advance`, because hypotheses that
    have just grown are joined with those that have not.
    """

    def __iter__(self) -> Iterator[Tensor]:
        """The tensors."""

    def select(self, index: Tensor) -> Self:
        """The state of chosen hypotheses, in that order.

        Args:
            index: (hypothesis,) int64; one may occur many times or not at all.

        Returns:
            Their state.
        """


StateT = TypeVar("StateT", bound=ScorerState)


class Scorer(Protocol[StateT]):
    """A language model over the tokenizer's pieces, on the device of the log-probabilities."""

    def start(self, hypotheses: int) -> StateT:
        """The state of so many empty hypotheses."""

    def scores(self, state: StateT) -> Tensor:
        """Score every next token piece.

        Args:
            state: Of the hypotheses.

        Returns:
            (hypothesis, piece) float32, natural log-probability of label `piece + 1`.
        """

    def advance(self, state: StateT, labels: Tensor) -> StateT:
        """Append one label to each hypothesis.

        Args:
            state: Of the hypotheses.
            labels: (hypothesis,) int64 in 1 .. N.

        Returns:
            The state after it.
        """

    def end(self, state: StateT) -> Tensor:
        """Score the end of the sentence.

        Args:
            state: Of the hypotheses.

        Returns:
            (hypothesis,) natural log-probability that the sentence ends here.
        """


def join(first: StateT, second: StateT) -> StateT:
    """One state of the hypotheses of both."""
    named_tuple: Any = type(first)
    joined: StateT = named_tuple(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
    return joined
