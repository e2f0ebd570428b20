"""The contract of decoders: log-probabilities, whole or chunk by chunk, to scored tokens."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

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
