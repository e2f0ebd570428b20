"""What a prefix beam search keeps between frames and between chunks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.ctc import BLANK
from asr.lengths import valid_mask
from asr.lm.scorer import ScorerState

NO_PREFIX = -torch.inf


class Prefixes(NamedTuple):
    """The prefixes held of each item, best first; all tensors are (batch, prefix).

    Two prefixes are the same if their 64-bit hashes are: two different ones of the few that are
    compared at each frame agree by chance once in some 10^17 frames.
    """

    blank: Tensor
    """float64, log-probability of the alignments that end in blank; -inf with `nonblank`: none."""
    nonblank: Tensor
    """float64, log-probability of the alignments that end in the last label."""
    lm: Tensor
    """float64, log-probability that the language model gives the labels."""
    hashes: Tensor
    """int64, of the labels."""
    parent_hashes: Tensor
    """int64, of all labels but the last."""
    last: Tensor
    """int64, the last label, 0 where there is none."""
    counts: Tensor
    """int64, number of labels."""

    def total(self) -> Tensor:
        """(batch, prefix) log-probability of each prefix."""
        return torch.logaddexp(self.blank, self.nonblank)

    def select(self, index: Tensor) -> "Prefixes":
        """The prefixes of chosen items (batch,)."""
        return Prefixes(*(tensor.index_select(0, index) for tensor in self))


class Tokens(NamedTuple):
    """The labels of each prefix and their frames; all tensors are (batch, prefix, token).

    A label starts where the alignments with the greater part of its prefix's probability bring it
    in, and lasts as long as it is more probable than blank. Beyond a prefix's labels: zeros, and
    -inf as log-posterior.
    """

    labels: Tensor
    """int64."""
    starts: Tensor
    """int64, first frame."""
    ends: Tensor
    """int64, the frame after the last."""
    log_posteriors: Tensor
    """float64, highest within the label's frames."""

    def select(self, index: Tensor) -> "Tokens":
        """The tokens of chosen items (batch,)."""
        return Tokens(*(tensor.index_select(0, index) for tensor in self))

    def gather(self, slots: Tensor) -> "Tokens":
        """The tokens of each item's chosen prefixes (batch, prefix)."""
        index = slots.unsqueeze(2).expand(-1, -1, self.labels.shape[2])
        return Tokens(*(tensor.gather(1, index) for tensor in self))


class BeamState(NamedTuple):
    """A prefix beam search after some frames; all tensors are batch first."""

    prefixes: Prefixes
    tokens: Tokens
    frames: Tensor
    """(batch,) int64, frames taken up."""
    lm: ScorerState | None
    """Of batch times prefix hypotheses, an item's prefixes beside each other."""

    def select(self, index: Tensor) -> "BeamState":
        """The state of chosen items (batch,)."""
        size = self.prefixes.last.shape[1]
        slots = torch.arange(size, device=index.device)
        return BeamState(
            self.prefixes.select(index),
            self.tokens.select(index),
            self.frames.index_select(0, index),
            None
            if self.lm is None
            else self.lm.select((index.unsqueeze(1) * size + slots).flatten()),
        )

    def best_labels(self) -> list[list[int]]:
        """The labels of each item's prefix of highest score so far."""
        labels = self.tokens.labels[:, 0].tolist()
        counts = self.prefixes.counts[:, 0].tolist()
        return [row[:count] for row, count in zip(labels, counts, strict=True)]


class Links(NamedTuple):
    """Where the prefixes after a frame come from; all tensors are (batch, prefix)."""

    slots: Tensor
    """int64, place before the frame."""
    arrived: Tensor
    """int64, the label that this frame appended, 0 where it appended none."""


def start_prefixes(batch: int, size: int, *, device: torch.device) -> Prefixes:
    """The empty prefix alone, in each item."""
    integers = torch.zeros(batch, size, dtype=torch.int64, device=device)
    none = torch.full((batch, size), NO_PREFIX, dtype=torch.float64, device=device)
    blank = none.clone()
    blank[:, 0] = 0.0
    return Prefixes(
        blank=blank,
        nonblank=none,
        lm=torch.zeros_like(none),
        hashes=integers,
        # No label of a real prefix follows from this, nor does it from any.
        parent_hashes=integers - 1,
        last=integers,
        counts=integers,
    )


def start_tokens(batch: int, size: int, *, device: torch.device) -> Tokens:
    """No tokens."""
    integers = torch.zeros(batch, size, 0, dtype=torch.int64, device=device)
    return Tokens(integers, integers, integers, integers.double())


def extend_tokens(
    state: BeamState, counts: Tensor, links: list[Links], log_probs: Tensor, lengths: Tensor
) -> Tokens:
    """Add the labels that a chunk appended, and the frames that carry them.

    Args:
        state: Before the chunk.
        counts: (batch, prefix) int64, labels of the prefixes after it.
        links: Of each frame of the chunk.
        log_probs: (batch, time, vocab) of the chunk.
        lengths: (batch,) int64, its real frames.

    Returns:
        The tokens of the prefixes after the chunk.
    """
    ancestors, arrived = _trace(links)
    arrives = arrived > 0
    time = arrived.shape[2]
    size = int(counts.max())
    # Entries that are of no token go to one more place at the end.
    place = state.prefixes.counts.gather(1, ancestors).unsqueeze(2) + arrives.cumsum(dim=2) - 1
    place = place.masked_fill(place < 0, size)
    old = Tokens(*(_resized(tensor, size + 1) for tensor in state.tokens.gather(ancestors)))
    new = torch.where(arrives, place, size)
    frame = state.frames.view(-1, 1, 1) + torch.arange(time, device=place.device)
    frame = frame.expand_as(place)
    labels = old.labels.scatter(2, new, arrived)
    starts = old.starts.scatter(2, new, frame)

    # (batch, prefix, time): the log-posterior of the label that each frame of the path is in
    current = log_probs.gather(2, labels.gather(2, place).transpose(1, 2)).transpose(1, 2)
    above = current > log_probs[:, :, BLANK].unsqueeze(1)
    above &= valid_mask(lengths, time).unsqueeze(1)
    # Whether the last label before the chunk still lasts at its end.
    last = (state.prefixes.counts - 1).gather(1, ancestors).unsqueeze(2)
    lasts = old.ends.gather(2, last.clamp(min=0)) == state.frames.view(-1, 1, 1)
    carried = _carried(arrives, above, lasts)
    carriers = torch.where(carried, place, size)
    ends = old.ends.scatter_reduce(2, carriers, frame + 1, "amax")
    peaks = old.log_posteriors.scatter_reduce(2, carriers, current.double(), "amax")
    return Tokens(labels[..., :size], starts[..., :size], ends[..., :size], peaks[..., :size])


def _trace(links: list[Links]) -> tuple[Tensor, Tensor]:
    """Follow the prefixes back through a chunk.

    Args:
        links: Of each frame.

    Returns:
        Each prefix's place before the chunk, (batch, prefix), and the labels that the frames
        appended to it, (batch, prefix, time).
    """
    slots, labels = links[-1]
    arrived = [labels]
    for link in reversed(links[:-1]):
        arrived.append(link.arrived.gather(1, slots))
        slots = link.slots.gather(1, slots)
    return slots, torch.stack(arrived[::-1], dim=2)


def _resized(tensor: Tensor, size: int) -> Tensor:
    """(batch, prefix, token) cut or filled to `size` tokens."""
    fill = NO_PREFIX if tensor.is_floating_point() else 0
    return pad(tensor, (0, size - tensor.shape[2]), value=fill)


def _carried(arrives: Tensor, above: Tensor, lasts: Tensor) -> Tensor:
    """Which frames of a path carry its label, and do not merely follow it.

    Args:
        arrives: (batch, prefix, time) bool, a label starts.
        above: (batch, prefix, time) bool, the label is more probable than blank.
        lasts: (batch, prefix, 1) bool, the label before the first frame still lasts.

    Returns:
        (batch, prefix, time) bool.
    """
    number = torch.arange(1, arrives.shape[2] + 1, device=arrives.device)
    started = torch.where(arrives, number, 0).cummax(dim=2).values
    stopped = torch.where(arrives | above, 0, number).cummax(dim=2).values
    return (started > stopped) | (lasts & (stopped == 0))
