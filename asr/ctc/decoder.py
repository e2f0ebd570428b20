"""The contract of CTC decoders, and what their beam searches share."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.ctc.loss import BLANK
from asr.schema import STRICT
from asr.transcripts.tokens import Decoded

StateT = TypeVar("StateT")


class Decoder(Protocol[StateT]):
    """CTC decoder: log-probabilities to tokens; a whole recording is one step or many."""

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchConfig:
    """Settings that all beam searches share."""

    beam_size: int = Field(ge=1)
    """Most hypotheses that are kept after a frame."""
    nbest: int = Field(default=1, ge=1)
    """Transcripts given, at most."""
    blank_penalty: float = 0.0
    """Taken from the blank's log-probability in every frame while searching, a natural logarithm;
    see `penalise_blank`."""

    def __post_init__(self) -> None:
        if self.nbest > self.beam_size:
            raise ValueError(
                f"expected nbest <= beam_size, found {self.nbest} and {self.beam_size}; "
                "raise beam_size"
            )


def penalise_blank(log_probs: Tensor, penalty: float) -> Tensor:
    """Lower the probability of the blank for a search.

    CTC learns how often labels come, blanks most of all, as a language model knows it too: what
    both say counts twice. Less of the blank lets a search give the language model more weight
    without losing short words. What the search reports as the acoustic score and as posteriors
    stays that of the model.

    Args:
        log_probs: (batch, time, vocab) or (time, vocab), natural logarithm, label 0 the blank.
        penalty: Taken from the blank's log-probability in every frame, whose probabilities then sum
            to one again; natural logarithm.

    Returns:
        The same shape; `log_probs` itself where the penalty is 0.

    Source: division by the labels' priors (Miao et al. 2015, arXiv:1507.08240), here of the
        blank alone.
    """
    if not penalty:
        return log_probs
    lower = log_probs.float().clone()
    lower[..., BLANK] -= penalty
    return lower.log_softmax(dim=-1)
