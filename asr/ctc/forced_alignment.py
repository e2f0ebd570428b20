"""Forced alignment: the most probable path through the frames that gives the known labels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio_library import forced_align
from asr.ctc.greedy import token_runs
from asr.ctc.loss import BLANK, minimum_frames
from asr.transcripts.tokens import TokenSequence

# torchaudio takes about 1.4 bytes for each frame and state, and crashes at 2 ** 31 of them.
_MOST_KERNEL_CELLS = 1 << 26

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]

# Frames between two kept columns of scores; what lies between is computed again when needed.
_BLOCK_FRAMES = 256


def best_alignment(log_probs: Floats, labels: Integers) -> Integers:
    """Find the most probable path that collapses to these labels.

    The states are blank, label, blank, ..., label, blank. Viterbi keeps its scores only at the
    beginning of each block. The way back begins in a known state at the end of a block, and no path
    through the block can come from further below than two states a frame: within these few the
    block is computed again, now with its moves.

    Args:
        log_probs: (time, vocab), natural logarithm.
        labels: (token,) in 1 .. vocab - 1, at least one; they fit into the frames.

    Returns:
        (time,) the label of each frame, blank included.
    """
    states = np.full(2 * len(labels) + 1, BLANK, dtype=np.int64)
    states[1::2] = labels
    # Added to a score that skips the blank before its label: only between unequal labels.
    skip = np.full(len(states), -np.inf)
    skip[3::2][labels[1:] != labels[:-1]] = 0.0

    # The column before the first frame leads into the first blank and the first label alone.
    scores = np.full(len(states), -np.inf)
    scores[0] = 0.0
    columns = []
    for frame in range(len(log_probs)):
        if frame % _BLOCK_FRAMES == 0:
            columns.append(scores)
        scores = _best_arrivals(scores, skip) + log_probs[frame].take(states)

    path = np.empty(len(log_probs), dtype=np.int64)
    state = len(states) - 2 + int(scores[-1] > scores[-2])
    for block in reversed(range(len(columns))):
        start = block * _BLOCK_FRAMES
        emissions = log_probs[start : start + _BLOCK_FRAMES]
        lowest = max(0, state - 2 * len(emissions))
        near = slice(lowest, state + 1)
        walked = _walk_back(columns[block][near], skip[near], emissions[:, states[near]])
        path[start : start + len(emissions)] = states[lowest + walked[1:]]
        state = lowest + int(walked[0])
    return path


def _walk_back(scores: Floats, skip: Floats, emissions: Floats) -> Integers:
    """States of a block's path that ends in the last one, the state before the block first.

    Args:
        scores: (state,) before the block.
        skip: (state,) what is added to a score that skips a state.
        emissions: (time, state) log-probabilities.
    """
    moves = np.empty(emissions.shape, dtype=np.int8)
    for frame, emission in enumerate(emissions):
        best = _best_arrivals(scores, skip)
        moves[frame] = best > scores
        moves[frame, 2:][best[2:] > np.maximum(scores[2:], scores[1:-1])] = 2
        scores = best + emission
    walked = np.empty(len(emissions) + 1, dtype=np.int64)
    walked[-1] = len(scores) - 1
    for frame in reversed(range(len(emissions))):
        walked[frame] = walked[frame + 1] - moves[frame, walked[frame + 1]]
    return walked


def _best_arrivals(scores: Floats, skip: Floats) -> Floats:
    """(state,): the best score on arrival in each state by staying, by one step or by two."""
    best = scores.copy()
    np.maximum(best[1:], scores[:-1], out=best[1:])
    np.maximum(best[2:], scores[:-2] + skip[2:], out=best[2:])
    return best


class TooFewFramesError(ValueError):
    """Audio too short for its labels."""


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
        TooFewFramesError: An item has fewer frames than its labels need.
        ValueError: A label is out of range, or no path has a finite log-probability.

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
        raise TooFewFramesError(
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
