"""Greedy CTC: the best label of every frame, repeats collapsed, blanks dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.words import find_words, token_runs
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

    def stretch(self, frames: slice) -> "BestPath":
        """The path of all items within a stretch of frames."""
        return BestPath(labels=self.labels[:, frames], log_probs=self.log_probs[:, frames])

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


def collapse(
    path: BestPath,
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    durations_seconds: Sequence[float],
    frame_offset_seconds: float = 0.0,
) -> list[Hypothesis]:
    """Turn paths into transcripts.

    A token is a run of equal labels that are not blank; `find_words` gives the words their times.
    The score is the sum of the log-posteriors along the path, blanks included.

    Args:
        path: The best labels.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        durations_seconds: Length of each item's audio; no word ends later.
        frame_offset_seconds: Start of the time that the first frame stands for.

    Returns:
        One hypothesis an item.
    """
    scores = path.log_probs.sum(dim=1).tolist()
    items = zip(token_runs(path.labels, path.log_probs), scores, durations_seconds, strict=True)
    return [
        Hypothesis.of_words(
            find_words(
                tokens,
                tokenizer,
                frame_seconds=frame_seconds,
                frame_offset_seconds=frame_offset_seconds,
                duration_seconds=duration,
            ),
            score=score,
            duration_seconds=duration,
        )
        for tokens, score, duration in items
    ]


def greedy_decode(
    log_probs: Tensor,
    lengths: Tensor,
    tokenizer: Tokenizer,
    *,
    frame_seconds: float,
    durations_seconds: Sequence[float],
) -> list[Hypothesis]:
    """Decode a batch: `best_path`, then `collapse`.

    Args:
        log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
        lengths: (batch,) int64, frames.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        durations_seconds: Length of each item's audio.

    Returns:
        One hypothesis an item.
    """
    return collapse(
        best_path(log_probs, lengths),
        tokenizer,
        frame_seconds=frame_seconds,
        durations_seconds=durations_seconds,
    )
