"""Greedy CTC: the best label of every frame, repeats collapsed, blanks dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from asr.ctc.loss import BLANK
from asr.lengths import valid_mask
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.tokens import Decoded, Token, TokenSequence
from asr.transcripts.word_times import to_hypothesis


def token_runs(labels: Tensor, log_probs: Tensor) -> list[list[Token]]:
    """Find the runs of equal labels that are not blank.

    Args:
        labels: (batch, time) int64, the label of every frame; blank where padded.
        log_probs: (batch, time) float64, log-posterior of that label.

    Returns:
        The tokens of each item, in order.
    """
    batch, time = labels.shape
    if labels.numel() == 0:
        return [[] for _ in range(batch)]
    # A run never spans two items, because every item's first frame begins one.
    begins = torch.ones(batch, time, dtype=torch.bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    first = begins.flatten().nonzero().squeeze(1)
    run_of_frame = begins.flatten().cumsum(dim=0) - 1
    best = torch.full(first.shape, -torch.inf, dtype=log_probs.dtype)
    best.scatter_reduce_(0, run_of_frame, log_probs.flatten(), reduce="amax")
    end = torch.cat([first[1:], first.new_tensor([batch * time])])
    label = labels.flatten()[first]
    kept = label != BLANK
    first, end, label, best = first[kept], end[kept], label[kept], best[kept]

    tokens: list[list[Token]] = [[] for _ in range(batch)]
    columns = (first.tolist(), end.tolist(), label.tolist(), best.exp().tolist())
    for first_frame, end_frame, token_label, posterior in zip(*columns, strict=True):
        item, start = divmod(first_frame, time)
        tokens[item].append(
            Token(
                label=token_label,
                start_frame=start,
                end_frame=end_frame - item * time,
                posterior=min(posterior, 1.0),
            )
        )
    return tokens


@dataclass(frozen=True, kw_only=True)
class BestPath:
    """The most probable label of every frame: all that greedy decoding needs of the log_probs.

    Args:
        labels: (batch, time) int64 on the CPU; blank where padded.
        log_probs: (batch, time) float64 on the CPU, log-posterior of the label; zero where padded.
    """

    labels: Tensor
    log_probs: Tensor


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
        _decoded(tokens, score)
        for tokens, score in zip(token_runs(path.labels, path.log_probs), scores, strict=True)
    ]


class GreedyState(NamedTuple):
    """One item after some frames; what it holds grows with the text alone.

    Args:
        tokens: In order; the last one may go on in the next frame.
        score: Sum of the log-posteriors along the path, blanks included.
        frames: Frames taken up.
    """

    tokens: tuple[Token, ...]
    score: float
    frames: int

    def extended(self, sequence: TokenSequence, frames: int) -> "GreedyState":
        """After `frames` more frames with these tokens, whose frames count from 0."""
        before, added = self.tokens, [_moved(token, self.frames) for token in sequence.tokens]
        if before and added:
            last, first = before[-1], added[0]
            if (last.label, last.end_frame) == (first.label, first.start_frame):
                added[0] = replace(
                    first,
                    start_frame=last.start_frame,
                    posterior=max(last.posterior, first.posterior),
                )
                before = before[:-1]
        return GreedyState(
            tokens=(*before, *added),
            score=self.score + sequence.score,
            frames=self.frames + frames,
        )


class GreedyDecoder:
    """Greedy CTC decoder: the best label of every frame, repeats collapsed, blanks dropped."""

    def start(self, batch: int, *, device: torch.device) -> list[GreedyState]:
        """The state of so many items before their first frame."""
        return [GreedyState(tokens=(), score=0.0, frames=0)] * batch

    def step(
        self, state: list[GreedyState], log_probs: Tensor, lengths: Tensor
    ) -> list[GreedyState]:
        """Take up the next frames.

        Args:
            state: After the frames before; it stays as it is.
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
            lengths: (batch,) int64, how many of these frames are real; 0 is allowed.

        Returns:
            The state after these frames.
        """
        decoded = collapse(best_path(log_probs, lengths))
        return [
            before.extended(item.best, frames)
            for before, item, frames in zip(state, decoded, lengths.tolist(), strict=True)
        ]

    def best_labels(self, state: list[GreedyState]) -> list[list[int]]:
        """The labels of each item so far."""
        return [[token.label for token in item.tokens] for item in state]

    def finish(self, state: list[GreedyState]) -> list[Decoded]:
        """Choose each item's tokens."""
        return [_decoded(item.tokens, item.score) for item in state]


def _decoded(tokens: Sequence[Token], score: float) -> Decoded:
    best = TokenSequence(tokens=tuple(tokens), score=score, acoustic_score=score, lm_score=0.0)
    return Decoded(best=best)


def _moved(token: Token, frames: int) -> Token:
    """The token that many frames later."""
    return replace(
        token, start_frame=token.start_frame + frames, end_frame=token.end_frame + frames
    )


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
