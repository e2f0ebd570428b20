"""CTC prefix beam search, batched: items and prefixes side by side, one loop over frames."""

from itertools import islice
from typing import Any, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.ctc import BLANK
from asr.decoding.beam_frame import Frame, continue_alignments, frames
from asr.decoding.beam_state import (
    NO_PREFIX,
    BeamState,
    Links,
    Prefixes,
    Tokens,
    extend_tokens,
    start_prefixes,
    start_tokens,
)
from asr.lm.scorer import Scorer, ScorerState, join
from asr.schema import STRICT
from asr.transcripts.tokens import Decoded, Token, TokenSequence

# Odd, so that no label of a prefix is lost in the upper bits; Knuth's, for linear congruences.
_HASH_MULTIPLIER = 6364136223846793005


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BeamConfig:
    """Settings of `BeamSearch`."""

    beam_size: int = Field(ge=1)
    """Prefixes kept after each frame."""
    nbest: int = Field(default=1, ge=1)
    """Transcripts given, at most."""
    lm_weight: float = Field(default=0.0, ge=0)
    """What the language model's log-probability is multiplied by; without unit."""
    length_bonus: float = 0.0
    """Added to the score for each label, a natural logarithm."""
    candidate_labels: int | None = Field(default=None, ge=1)
    """The most probable labels of a frame, blank aside, that may extend a prefix; None: all."""

    def __post_init__(self) -> None:
        if self.nbest > self.beam_size:
            raise ValueError(
                f"expected nbest <= beam_size, found {self.nbest} and {self.beam_size}; "
                "raise beam_size"
            )


class _LanguageModel(NamedTuple):
    """State of all hypotheses and their (hypothesis, piece) scores of the next piece."""

    state: ScorerState
    scores: Tensor


class BeamSearch:
    """Finds the label sequences of highest score: the sum over alignments, not the best of them.

    score = log P_ctc + lm_weight * log P_lm + length_bonus * labels. P_ctc of a prefix is the sum
    over those of its alignments that the beam met; with a beam that holds every prefix it is exact.
    Items do not influence each other.

    Args:
        config: Settings.
        scorer: Language model, asked once for each prefix that grows.

    Source: Hannun et al. 2014 (arXiv:1408.2873), algorithm 1.
    """

    def __init__(self, config: BeamConfig, scorer: Scorer[Any] | None = None) -> None:
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
        for frame in frames(log_probs, lengths, self.config.candidate_labels):
            prefixes, link, lm = self._advance(prefixes, frame, lm)
            links.append(link)
        return BeamState(
            prefixes=prefixes,
            tokens=extend_tokens(state, prefixes.counts, links, log_probs, lengths),
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
        acoustic = prefixes.total()
        scores = acoustic + self._prior(prefixes)
        # Places without a prefix come last, and stay there: the sort is stable.
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, : self.config.nbest]
        columns = [tensor.gather(1, order) for tensor in (scores, acoustic, prefixes.lm)]
        tokens = _token_lists(state.tokens.gather(order), prefixes.counts.gather(1, order))
        found = []
        for item in zip(tokens, *(column.tolist() for column in columns), strict=True):
            sequences = tuple(
                TokenSequence(
                    tokens=labels, score=score, acoustic_score=acoustic_score, lm_score=lm_score
                )
                for rank, (labels, score, acoustic_score, lm_score) in enumerate(
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
        kept = Prefixes(
            blank=stay.blank.gather(1, slots).masked_fill(grows, NO_PREFIX),
            nonblank=grown.flatten(1).gather(1, index),
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
