"""Forced alignment of recordings of any length: exact, in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from asr.ctc import BLANK

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
