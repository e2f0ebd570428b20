"""The contract of CTC decoders, and the blank penalty around any of them."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from asr.ctc.loss import BLANK
from asr.transcripts.tokens import Decoded

StateT = TypeVar("StateT")


class Decoder(Protocol[StateT]):
    """Turns log-probabilities into tokens; a whole recording is one step or many."""

    def start(self, batch: int, *, device: torch.device) -> StateT:
        """The state of so many items before their first frame."""

    def step(self, state: StateT, log_probs: Tensor, lengths: Tensor) -> StateT:
        """Take up the next frames.

        Args:
            state: After the frames before; it stays as it is.
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
            lengths: (batch,) int64, how many of these frames are real; 0 is allowed.

        Returns:
            The state after these frames.
        """

    def best_labels(self, state: StateT) -> Sequence[Sequence[int]]:
        """The labels of each item's best transcript so far; later frames may change it."""

    def finish(self, state: StateT) -> Sequence[Decoded]:
        """Choose each item's tokens."""


class BlankPenalty(Generic[StateT]):
    """Another decoder, given other probabilities of the blank.

    CTC learns how often labels come, blanks most of all, as a language model knows it too: what
    both say counts twice. Less of the blank lets a search give the language model more weight
    without losing short words.

    Args:
        decoder: What decodes.
        penalty: Taken from the blank's log-probability in every frame, whose probabilities then sum
            to one again; natural logarithm.

    Source: division by the labels' priors (Miao et al. 2015, arXiv:1507.08240), here of the
        blank alone.
    """

    def __init__(self, decoder: Decoder[StateT], penalty: float) -> None:
        self._decoder = decoder
        self._penalty = penalty

    def start(self, batch: int, *, device: torch.device) -> StateT:
        """See Decoder."""
        return self._decoder.start(batch, device=device)

    def step(self, state: StateT, log_probs: Tensor, lengths: Tensor) -> StateT:
        """See Decoder."""
        lower = log_probs.float().clone()
        lower[:, :, BLANK] -= self._penalty
        return self._decoder.step(state, lower.log_softmax(dim=2), lengths)

    def best_labels(self, state: StateT) -> Sequence[Sequence[int]]:
        """See Decoder."""
        return self._decoder.best_labels(state)

    def finish(self, state: StateT) -> Sequence[Decoded]:
        """See Decoder."""
        return self._decoder.finish(state)
