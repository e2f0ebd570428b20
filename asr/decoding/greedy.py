"""Greedy CTC: the best label of every frame, repeats collapsed, blanks dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.decoder import Decoded, TokenSequence
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.words import to_hypothesis, token_runs
from asr.lengths import valid_mask
from asr.model.ctc import BLANK
from asr.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class BestPath:
    """The most probable label of every frame: all that greedy decoding needs of the log_probs.

    Args:
        labels: (batch, time) int64 on the CPU; blank where padded.
        log_probs: (batch, time) float64 on the CPU, log-posterior of the label; zero where padded.
    """

    labels: Tensor
    log_probs: Tensor

    @staticmethod
    def empty() -> "BestPath":
        """The path of one item without frames."""
        return BestPath(
            labels=torch.zeros(1, 0, dtype=torch.int64),
            log_probs=torch.zeros(1, 0, dtype=torch.float64),
        )

    def item(self, index: int, frames: int) -> "BestPath":
        """The path of one item, without its padding."""
        return BestPath(
            labels=self.labels[index : index + 1, :frames],
            log_probs=self.log_probs[index : index + 1, :frames],
        )

    @staticmethod
    def join(parts: "Sequence[BestPath]") -> "BestPath":
        """One path from consecutive stretches of the same batch."""
        return BestPath(
            labels=torch.cat([part.labels for part in parts], dim=1),
            log_probs=torch.cat([part.log_probs for part in parts], dim=1),
        )


def best_path(log_probs: Tensor, lengths: Tensor) -> BestPath:
    """Find the best label of every frame; of equal ones the lowest.

    Args:
        log_probs: (batch, time, vocab), natural logarithm, on any device.
        lengths: (batch,) int64, frames.

    Returns:
        The path.
    """
    labels = log_probs.argmax(dim=2)
    maxima = log_probs.gather(2, labels.unsqueeze(2)).squeeze(2)
    padded = ~valid_mask(lengths, log_probs.shape[1])
    return BestPath(
        labels=labels.masked_fill(padded, BLANK).cpu(),
        log_probs=maxima.double().masked_fill(padded, 0.0).cpu(),
    )


def collapse(path: BestPath) -> list[Decoded]:
    """Turn paths into tokens.

    A token is a run of equal labels that are not blank. The score is the sum of the log-posteriors
    along the path, blanks included.

    Args:
        path: The best labels.

    Returns:
        The tokens of each item.
    """
    scores = path.log_probs.sum(dim=1).tolist()
    return [
        Decoded(
            best=TokenSequence(
                tokens=tuple(tokens), score=score, acoustic_score=score, lm_score=0.0
            )
        )
        for tokens, score in zip(token_runs(path.labels, path.log_probs), scores, strict=True)
    ]


class GreedyDecoder:
    """Best labels; the state is the path of each item so far."""

    def start(self, batch: int, *, device: torch.device) -> list[BestPath]:
        """The state of so many items before their first frame."""
        return [BestPath.empty()] * batch

    def step(self, state: list[BestPath], log_probs: Tensor, lengths: Tensor) -> list[BestPath]:
        """Take up the next frames.

        Args:
            state: After the frames before; it stays as it is.
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
            lengths: (batch,) int64, how many of these frames are real; 0 is allowed.

        Returns:
            The state after these frames.
        """
        path = best_path(log_probs, lengths)
        return [
            BestPath.join([before, path.item(item, frames)])
            for item, (before, frames) in enumerate(zip(state, lengths.tolist(), strict=True))
        ]

    def finish(self, state: list[BestPath]) -> list[Decoded]:
        """Choose each item's tokens."""
        return [decoded for path in state for decoded in collapse(path)]


def greedy_decode(
    log_probs: Tensor,
    lengths: Tensor,
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    durations_seconds: Sequence[float],
) -> list[Hypothesis]:
    """Decode a batch: `best_path`, `collapse`, then `to_hypothesis`.

    Times count from the start of the first frame.

    Args:
        log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
        lengths: (batch,) int64, frames.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        durations_seconds: Length of each item's audio.

    Returns:
        One hypothesis an item.
    """
    decoded = collapse(best_path(log_probs, lengths))
    return [
        to_hypothesis(
            item,
            tokenizer,
            frame_seconds=frame_seconds,
            frame_offset_seconds=0.0,
            duration_seconds=duration_seconds,
        )
        for item, duration_seconds in zip(decoded, durations_seconds, strict=True)
    ]
