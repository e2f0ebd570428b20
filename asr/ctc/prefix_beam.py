"""CTC prefix beam search: the most probable label sequences, summed over their alignments."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import pad

from asr.ctc.decoder import SearchConfig, penalise_blank
from asr.ctc.loss import BLANK
from asr.lengths import valid_mask
from asr.lm.scorer import Scorer, ScorerState, join
from asr.schema import STRICT
from asr.transcripts.tokens import Decoded, Token, TokenSequence

# Odd, so that no label of a prefix is lost in the upper bits; Knuth's, for linear congruences.
_HASH_MULTIPLIER = 6364136223846793005

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
    model_blank: Tensor
    """As `blank`, without the blank penalty."""
    model_nonblank: Tensor
    """As `nonblank`, without the blank penalty."""
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

    def without_penalty(self) -> "Prefixes":
        """The same prefixes as the model itself weighs their alignments."""
        return self._replace(blank=self.model_blank, nonblank=self.model_nonblank)

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
    """Back-pointers of the prefixes after a frame; all tensors are (batch, prefix)."""

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
        model_blank=blank,
        model_nonblank=none,
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
    state: BeamState,
    counts: Tensor,
    links: list[Links],
    *,
    log_probs: Tensor,
    model_log_probs: Tensor,
    lengths: Tensor,
) -> Tokens:
    """Add the labels that a chunk appended, and the frames that carry them.

    Args:
        state: Before the chunk.
        counts: (batch, prefix) int64, labels of the prefixes after it.
        links: Of each frame of the chunk.
        log_probs: (batch, time, vocab) of the chunk, as searched.
        model_log_probs: The same without the blank penalty, for the posteriors of the tokens.
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

    # (batch, time, prefix): the label that each frame of the path is in
    path = labels.gather(2, place).transpose(1, 2)
    # (batch, prefix, time): its log-posterior
    current = log_probs.gather(2, path).transpose(1, 2)
    posterior = current
    if model_log_probs is not log_probs:
        posterior = model_log_probs.gather(2, path).transpose(1, 2)
    above = current > log_probs[:, :, BLANK].unsqueeze(1)
    above &= valid_mask(lengths, time).unsqueeze(1)
    # Whether the last label before the chunk still lasts at its end.
    last = (state.prefixes.counts - 1).gather(1, ancestors).unsqueeze(2)
    lasts = old.ends.gather(2, last.clamp(min=0)) == state.frames.view(-1, 1, 1)
    carried = _carried(arrives, above, lasts)
    carriers = torch.where(carried, place, size)
    ends = old.ends.scatter_reduce(2, carriers, frame + 1, "amax")
    peaks = old.log_posteriors.scatter_reduce(2, carriers, posterior.double(), "amax")
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


class Frame(NamedTuple):
    """One frame of all items."""

    log_probs: Tensor
    """(batch, vocab), as searched."""
    model_log_probs: Tensor
    """(batch, vocab), without the blank penalty."""
    labels: Tensor
    """(batch, column) int64, the labels that may extend a prefix; blank in column 0."""
    columns: Tensor
    """(batch, vocab) int64, the column of each label, 0 where it has none."""
    real: Tensor
    """(batch, 1) bool, False where padded."""


def frames(
    log_probs: Tensor, model_log_probs: Tensor, lengths: Tensor, candidate_labels: int | None
) -> Iterator[Frame]:
    """Cut a chunk into frames.

    Args:
        log_probs: (batch, time, vocab), as searched.
        model_log_probs: The same without the blank penalty.
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
    tensors = (log_probs, model_log_probs, labels, columns, real)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BeamConfig(SearchConfig):
    """Settings of `BeamSearch`."""

    lm_weight: float | None = Field(default=None, ge=0)
    """What the language model's log-probability is multiplied by, without unit; a search with a
    language model needs it."""
    length_bonus: float = 0.0
    """Added to the score for each label, a natural logarithm."""
    candidate_labels: int | None = Field(default=None, ge=1)
    """The most probable labels of a frame, blank aside, that may extend a prefix; None: all."""


class _LanguageModel(NamedTuple):
    """State of all hypotheses and their (hypothesis, piece) scores of the next piece."""

    state: ScorerState
    scores: Tensor


class BeamSearch:
    """CTC prefix beam search: the label sequences of highest score, summed over their alignments.

    score = log P_ctc + lm_weight * log P_lm + length_bonus * labels. P_ctc of a prefix is the sum
    over those of its alignments that the beam met; with a beam that holds every prefix it is exact.
    With a blank penalty the score has the P_ctc of the penalised probabilities; the acoustic score
    and the posteriors of tokens are those of the model all the same. Items do not influence each
    other.

    Args:
        config: Settings.
        scorer: Language model, asked once for each prefix that grows.

    Raises:
        ValueError: There is a language model without a weight.

    Source: Hannun et al. 2014 (arXiv:1408.2873), algorithm 1.
    """

    def __init__(self, config: BeamConfig, scorer: Scorer[Any] | None = None) -> None:
        if scorer is not None and config.lm_weight is None:
            raise ValueError(
                "expected lm_weight with a language model, found none; give one, such as "
                "the default of asr.decoders"
            )
        self.config = config
        self.scorer = scorer

    def start(self, batch: int, *, device: torch.device) -> BeamState:
        """The state of so many items before their first frame."""
        size = self.config.beam_size
        return BeamState(
            prefixes=start_prefixes(batch, size, device=device),
            tokens=start_tokens(batch, size, device=device),
            frames=torch.zeros(batch, dtype=torch.int64, device=device),
            lm=None if self.scorer is None else self.scorer.start(batch * size),
        )

    @torch.inference_mode()
    def step(self, state: BeamState, log_probs: Tensor, lengths: Tensor) -> BeamState:
        """Take up the next frames; any division of a recording into steps gives the same.

        Args:
            state: After the frames before; it stays as it is.
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
            lengths: (batch,) int64, how many of these frames are real; 0 is allowed.

        Returns:
            The state after these frames.

        Raises:
            ValueError: The scorer has another number of token pieces.
        """
        if log_probs.shape[0] == 0 or log_probs.shape[1] == 0:
            return state
        prefixes, links = state.prefixes, []
        lm = self._first_scores(state, pieces=log_probs.shape[2] - 1)
        searched = penalise_blank(log_probs, self.config.blank_penalty)
        for frame in frames(searched, log_probs, lengths, self.config.candidate_labels):
            prefixes, link, lm = self._advance(prefixes, frame, lm)
            links.append(link)
        return BeamState(
            prefixes=prefixes,
            tokens=extend_tokens(
                state,
                prefixes.counts,
                links,
                log_probs=searched,
                model_log_probs=log_probs,
                lengths=lengths,
            ),
            frames=state.frames + lengths,
            lm=None if lm is None else lm.state,
        )

    def best_labels(self, state: BeamState) -> list[list[int]]:
        """The labels of each item's prefix of highest score so far."""
        return state.best_labels()

    @torch.inference_mode()
    def finish(self, state: BeamState) -> list[Decoded]:
        """Rank the prefixes as whole sentences.

        Args:
            state: After the last frame.

        Returns:
            Each item's best; with `nbest` above 1 that many, or as many as there are.
        """
        prefixes = state.prefixes
        if self.scorer is not None:
            ends = self.scorer.end(state.lm).view_as(prefixes.lm)
            prefixes = prefixes._replace(lm=prefixes.lm + ends)
        searched, acoustic = prefixes.total(), prefixes.without_penalty().total()
        scores = searched + self._prior(prefixes)
        # Places without a prefix come last, and stay there: the sort is stable.
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, : self.config.nbest]
        parts = (scores, acoustic, searched - acoustic, prefixes.lm)
        columns = [tensor.gather(1, order) for tensor in parts]
        tokens = _token_lists(state.tokens.gather(order), prefixes.counts.gather(1, order))
        found = []
        for item in zip(tokens, *(column.tolist() for column in columns), strict=True):
            sequences = tuple(
                TokenSequence(
                    tokens=labels,
                    score=score,
                    acoustic_score=acoustic_score,
                    blank_penalty_score=penalty_score,
                    lm_score=lm_score,
                )
                for rank, (labels, score, acoustic_score, penalty_score, lm_score) in enumerate(
                    zip(*item, strict=True)
                )
                if rank == 0 or score > NO_PREFIX
            )
            nbest = sequences if self.config.nbest > 1 else ()
            found.append(Decoded(best=sequences[0], nbest=nbest))
        return found

    def _weighted(self, lm: Tensor) -> Tensor | float:
        # A weight of zero leaves out even what the language model excludes, as -inf.
        return self.config.lm_weight * lm if self.config.lm_weight else 0.0

    def _prior(self, prefixes: Prefixes) -> Tensor:
        """(batch, prefix) what the score holds beside the acoustic part."""
        return self.config.length_bonus * prefixes.counts.double() + self._weighted(prefixes.lm)

    def _first_scores(self, state: BeamState, *, pieces: int) -> _LanguageModel | None:
        if self.scorer is None:
            return None
        assert state.lm is not None, "a state from another beam search"
        scores = self.scorer.scores(state.lm)
        if scores.shape[1] != pieces:
            raise ValueError(
                f"expected a scorer of {pieces} token pieces, as the CTC model has, found one of "
                f"{scores.shape[1]}; use a language model over the same tokenizer"
            )
        return _LanguageModel(state.lm, scores)

    def _advance(
        self, prefixes: Prefixes, frame: Frame, lm: _LanguageModel | None
    ) -> tuple[Prefixes, Links, _LanguageModel | None]:
        """One frame: every prefix stays and grows by each label, and the best are kept."""
        stay, grown = continue_alignments(prefixes, frame)
        prior = self._prior(prefixes)
        # (batch, prefix, column)
        scores = grown + (prior + self.config.length_bonus).unsqueeze(2)
        if lm is not None:
            pieces = (frame.labels[:, 1:] - 1).unsqueeze(1)
            next_scores = lm.scores.view(*prior.shape, -1)
            pieces = pieces.expand(-1, prior.shape[1], -1)
            scores[:, :, 1:] += self._weighted(next_scores.gather(2, pieces))
        scores[:, :, 0] = torch.logaddexp(stay.blank, stay.nonblank) + prior
        columns = grown.shape[2]
        index = scores.flatten(1).topk(self.config.beam_size, dim=1).indices
        # Where padded, every prefix stays in its place, equal ones too.
        index = torch.where(frame.real, index, stay.origins * columns)
        slots = index // columns
        label = frame.labels.gather(1, index % columns)
        grows = label != BLANK

        hashes = prefixes.hashes.gather(1, slots)
        links = Links(
            slots=torch.where(grows, slots, stay.origins.gather(1, slots)),
            arrived=torch.where(grows, label, stay.arrived.gather(1, slots)),
        )
        kept_lm = prefixes.lm.gather(1, slots)
        if lm is not None:
            lm, added = self._grow(lm, slots, label)
            kept_lm += added
        blank = stay.blank.gather(1, slots).masked_fill(grows, NO_PREFIX)
        nonblank = grown.flatten(1).gather(1, index)
        model_blank, model_nonblank = blank, nonblank
        if self.config.blank_penalty:
            # The same alignments, weighed by the model alone.
            model_stay, model_grown = continue_alignments(
                prefixes.without_penalty(), frame._replace(log_probs=frame.model_log_probs)
            )
            model_blank = model_stay.blank.gather(1, slots).masked_fill(grows, NO_PREFIX)
            model_nonblank = model_grown.flatten(1).gather(1, index)
        kept = Prefixes(
            blank=blank,
            nonblank=nonblank,
            model_blank=model_blank,
            model_nonblank=model_nonblank,
            lm=kept_lm,
            hashes=torch.where(grows, hashes * _HASH_MULTIPLIER + label, hashes),
            parent_hashes=torch.where(grows, hashes, prefixes.parent_hashes.gather(1, slots)),
            last=torch.where(grows, label, prefixes.last.gather(1, slots)),
            counts=prefixes.counts.gather(1, slots) + grows,
        )
        return kept, links, lm

    def _grow(
        self, lm: _LanguageModel, slots: Tensor, label: Tensor
    ) -> tuple[_LanguageModel, Tensor]:
        """Advance the hypotheses that grow, and keep the others.

        Args:
            lm: Before the frame.
            slots: (batch, prefix), where each prefix was before the frame.
            label: (batch, prefix), what it grows by, 0 if it does not.

        Returns:
            The language model after the frame; (batch, prefix) log-probabilities of the labels.
        """
        assert self.scorer is not None
        batch, size = slots.shape
        offsets = torch.arange(0, batch * size, size, device=slots.device).unsqueeze(1)
        source, label = (slots + offsets).flatten(), label.flatten()
        added = lm.scores[source, (label - 1).clamp(min=0)].masked_fill(label == BLANK, 0.0)
        growing = label.nonzero().squeeze(1)
        state, scores = lm
        if len(growing) > 0:
            grown = self.scorer.advance(state.select(source[growing]), label[growing])
            state = join(state, grown)
            scores = torch.cat([scores, self.scorer.scores(grown)])
            source[growing] = torch.arange(batch * size, len(scores), device=source.device)
        lm = _LanguageModel(state.select(source), scores.index_select(0, source))
        return lm, added.view(batch, size).double()


def _token_lists(tokens: Tokens, counts: Tensor) -> list[list[tuple[Token, ...]]]:
    """The tokens of each prefix of each item."""
    columns = (
        counts,
        tokens.labels,
        tokens.starts,
        tokens.ends,
        tokens.log_posteriors.exp().clamp(max=1.0),
    )
    return [
        [
            tuple(
                Token(label=label, start_frame=start, end_frame=end, posterior=posterior)
                for label, start, end, posterior in islice(zip(*values, strict=True), count)
            )
            for count, *values in zip(*item, strict=True)
        ]
        for item in zip(*(column.tolist() for column in columns), strict=True)
    ]
