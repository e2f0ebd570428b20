"""Greedy CTC: the best label of every frame, repeats collapsed, blanks dropped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis, Word
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


@dataclass(frozen=True, kw_only=True)
class Token:
    """A run of one label that is not blank.

    Args:
        label: In 1 .. N.
        start_frame: Its first frame.
        end_frame: The frame after its last.
        posterior: The highest posterior within its frames, in 0 .. 1.
    """

    label: int
    start_frame: int
    end_frame: int
    posterior: float


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
) -> list[Hypothesis]:
    """Turn paths into transcripts.

    A token is a run of equal labels that are not blank. A word lasts from the start of its first
    token's first frame to the end of its last token's last frame. Its confidence is the mean over
    its tokens of the highest posterior within the token's frames. The score is the sum of the
    log-posteriors along the path, blanks included.

    Args:
        path: The best labels.
        tokenizer: Gives the text of labels.
        frame_seconds: Distance between frames.
        durations_seconds: Length of each item's audio; no word ends later.

    Returns:
        One hypothesis an item.
    """
    scores = path.log_probs.sum(dim=1).tolist()
    items = zip(path_tokens(path), scores, durations_seconds, strict=True)
    return [
        _hypothesis(tokens, tokenizer, score, frame_seconds, duration)
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


def path_tokens(path: BestPath) -> list[list[Token]]:
    """The tokens of each item: runs of equal labels that are not blank."""
    batch, time = path.labels.shape
    if path.labels.numel() == 0:
        return [[] for _ in range(batch)]
    # A run never spans two items, because every item's first frame begins one.
    begins = torch.ones(batch, time, dtype=torch.bool)
    begins[:, 1:] = path.labels[:, 1:] != path.labels[:, :-1]
    first = begins.flatten().nonzero().squeeze(1)
    run_of_frame = begins.flatten().cumsum(dim=0) - 1
    best = torch.full(first.shape, -torch.inf, dtype=path.log_probs.dtype)
    best.scatter_reduce_(0, run_of_frame, path.log_probs.flatten(), reduce="amax")
    end = torch.cat([first[1:], first.new_tensor([batch * time])])
    label = path.labels.flatten()[first]
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


def _hypothesis(
    tokens: list[Token],
    tokenizer: Tokenizer,
    score: float,
    frame_seconds: float,
    duration_seconds: float,
) -> Hypothesis:
    words = []
    for group in _word_groups(tokens, tokenizer):
        text = "".join(tokenizer.decode([token.label for token in group]).split())
        if not text:
            continue
        words.append(make_word(text, group, frame_seconds, duration_seconds))
    return Hypothesis(
        text=" ".join(word.word for word in words),
        score=score,
        words=tuple(words),
        duration_seconds=duration_seconds,
    )


def make_word(
    text: str, tokens: Sequence[Token], frame_seconds: float, duration_seconds: float
) -> Word:
    """A word of these tokens, with times and confidence as `collapse` says."""
    return Word(
        word=text,
        start_seconds=min(tokens[0].start_frame * frame_seconds, duration_seconds),
        end_seconds=min(tokens[-1].end_frame * frame_seconds, duration_seconds),
        confidence=sum(token.posterior for token in tokens) / len(tokens),
    )


def _word_groups(tokens: list[Token], tokenizer: Tokenizer) -> Iterator[list[Token]]:
    starts = [
        index
        for index, token in enumerate(tokens)
        if index == 0 or tokenizer.starts_word(token.label)
    ]
    for start, end in pairwise([*starts, len(tokens)]):
        yield tokens[start:end]
