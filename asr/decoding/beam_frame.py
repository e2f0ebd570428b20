"""One frame of a prefix beam search: how alignments go on, and into which prefixes."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.ctc import BLANK
from asr.decoding.beam_state import NO_PREFIX, Prefixes
from asr.lengths import valid_mask


class Frame(NamedTuple):
    """One frame of all items."""

    log_probs: Tensor
    """(batch, vocab)."""
    labels: Tensor
    """(batch, column) int64, the labels that may extend a prefix; blank in column 0."""
    columns: Tensor
    """(batch, vocab) int64, the column of each label, 0 where it has none."""
    real: Tensor
    """(batch, 1) bool, False where padded."""


def frames(log_probs: Tensor, lengths: Tensor, candidate_labels: int | None) -> Iterator[Frame]:
    """Cut a chunk into frames.

    Args:
        log_probs: (batch, time, vocab).
        lengths: (batch,) int64, real frames.
        candidate_labels: How many labels of a frame, the most probable, may extend a prefix.

    Yields:
        The frames in order.
    """
    batch, time, vocab = log_probs.shape
    candidates = min(candidate_labels or vocab, vocab - 1)
    every = torch.arange(vocab, device=log_probs.device)
    if candidates == vocab - 1:
        labels = columns = every.expand(batch, time, vocab)
    else:
        best = log_probs[:, :, 1:].topk(candidates, dim=2).indices + 1
        labels = pad(best, (1, 0), value=BLANK)
        columns = torch.zeros_like(log_probs, dtype=torch.int64)
        columns.scatter_(2, labels, every[: candidates + 1].expand_as(labels))
    real = valid_mask(lengths, time).unsqueeze(2)
    tensors = (log_probs, labels, columns, real)
    for frame in zip(*(tensor.unbind(1) for tensor in tensors), strict=True):
        yield Frame(*frame)


class Stay(NamedTuple):
    """The prefixes that do not grow, (batch, prefix), after a frame.

    `blank` and `nonblank` as in `Prefixes`; `origins` and `arrived` as in `Links`.
    """

    blank: Tensor
    nonblank: Tensor
    origins: Tensor
    arrived: Tensor


def continue_alignments(prefixes: Prefixes, frame: Frame) -> tuple[Stay, Tensor]:
    """Extend the alignments of every prefix by one frame.

    Args:
        prefixes: Before the frame.
        frame: Its log-probabilities.

    Returns:
        The prefixes themselves, and (batch, prefix, column) the log-probability of the alignments
        in which a prefix grows by the column's label, -inf where the longer prefix is held already
        and counts them itself; in column 0 `nonblank` of the prefix itself.
    """
    log_probs = frame.log_probs.masked_fill(~frame.real, NO_PREFIX)
    total = prefixes.total()
    last_log_prob = log_probs.gather(1, prefixes.last)

    # (batch, parent, child)
    held = total > NO_PREFIX
    related = prefixes.hashes.unsqueeze(2) == prefixes.parent_hashes.unsqueeze(1)
    related &= held.unsqueeze(2) & held.unsqueeze(1)
    # (batch, child)
    has_parent = related.any(dim=1)
    parents = related.byte().argmax(dim=1)
    # A label follows itself only across a blank.
    repeats = prefixes.last == prefixes.last.gather(1, parents)
    parent_total = torch.where(repeats, prefixes.blank.gather(1, parents), total.gather(1, parents))
    from_parent = (parent_total + last_log_prob).masked_fill(~has_parent, NO_PREFIX)

    blank = total + log_probs[:, BLANK, None]
    nonblank = torch.logaddexp(prefixes.nonblank + last_log_prob, from_parent)
    # More than half of the whole comes from the parent now.
    renewed = from_parent > torch.logaddexp(blank, nonblank) - math.log(2)
    places = torch.arange(total.shape[1], device=total.device).expand_as(parents)
    stay = Stay(
        blank=torch.where(frame.real, blank, prefixes.blank),
        nonblank=torch.where(frame.real, nonblank, prefixes.nonblank),
        origins=torch.where(renewed, parents, places),
        arrived=torch.where(renewed, prefixes.last, BLANK),
    )

    # (batch, prefix, column)
    grown = total.unsqueeze(2) + log_probs.gather(1, frame.labels).unsqueeze(1)
    columns = grown.shape[2]
    flat = grown.view(len(grown), -1)
    # A column of 0, of what has no column, is overwritten in the end.
    column = frame.columns.gather(1, prefixes.last)
    flat.scatter_(1, places * columns + column, prefixes.blank + last_log_prob)
    flat.scatter_(1, torch.where(has_parent, parents * columns + column, 0), NO_PREFIX)
    grown[:, :, 0] = stay.nonblank
    return stay, grown
