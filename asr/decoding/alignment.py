"""Forced alignment: the most probable path through the frames that gives the known labels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from asr.ctc import BLANK, minimum_frames
from asr.ctc.greedy import token_runs
from asr.decoding.viterbi import best_alignment
from asr.transcripts.tokens import TokenSequence

# torchaudio takes about 1.4 bytes for each frame and state, and crashes at 2 ** 31 of them.
_MOST_KERNEL_CELLS = 1 << 26


def align_labels(
    log_probs: Tensor, lengths: Tensor, labels: Sequence[Sequence[int]]
) -> list[TokenSequence]:
    """Align each item's labels with its frames.

    Args:
        log_probs: (batch, time, vocab), natural logarithm, label 0 the blank, on any device.
        lengths: (batch,) int64, frames.
        labels: The labels of each item, in 1 .. vocab - 1; none is allowed.

    Returns:
        Each item's tokens, one for each label; the score is the log-probability of the path, blanks
        included.

    Raises:
        ValueError: A label is out of range, an item has fewer frames than its labels need, or no
            path has a finite log-probability.

    Source: Graves et al. 2006, section 4.1, with the maximum for the sum.
    """
    return [
        _align(item[:frames].cpu(), item_labels)
        for item, frames, item_labels in zip(log_probs, lengths.tolist(), labels, strict=True)
    ]


def _align(log_probs: Tensor, labels: Sequence[int]) -> TokenSequence:
    frames, vocab = log_probs.shape
    if labels and not 1 <= min(labels) <= max(labels) < vocab:
        raise ValueError(
            f"expected labels in 1 .. {vocab - 1}, found {min(labels)} .. {max(labels)}; use the "
            "tokenizer that the model was trained with"
        )
    needed = minimum_frames(labels)
    if frames < needed:
        raise ValueError(
            f"expected at least {needed} frames for {len(labels)} labels, found {frames}; check "
            "that text and audio belong together"
        )
    path = _path(log_probs, torch.tensor(labels, dtype=torch.int64))
    posteriors = log_probs.gather(1, path.unsqueeze(1)).squeeze(1).double()
    score = float(posteriors.sum())
    if not math.isfinite(score):
        raise ValueError(
            f"expected a path of finite log-probability for {len(labels)} labels, found {score}; "
            "check the model's weights"
        )
    # Between equal labels a path has a blank, so that each run is one label.
    [tokens] = token_runs(path.unsqueeze(0), posteriors.unsqueeze(0))
    return TokenSequence(tokens=tuple(tokens), score=score, acoustic_score=score, lm_score=0.0)


def _path(log_probs: Tensor, labels: Tensor) -> Tensor:
    """(time,) int64, the label of each frame."""
    frames = log_probs.shape[0]
    if len(labels) == 0:
        return torch.full((frames,), BLANK)
    if frames * (2 * len(labels) + 1) <= _MOST_KERNEL_CELLS:
        path, _ = forced_align(log_probs.double().unsqueeze(0), labels.unsqueeze(0), blank=BLANK)
        found: Tensor = path.squeeze(0).long()
        return found
    return torch.from_numpy(best_alignment(log_probs.numpy(), labels.numpy()))
