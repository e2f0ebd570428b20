"""Log-probabilities, a toy language model and oracles for the tests of beam search."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.lm.scorer import Scorer
from asr.transcripts.tokens import Decoded, Token

CPU = torch.device("cpu")


class BigramState(NamedTuple):
    previous: Tensor

    def select(self, index: Tensor) -> "BigramState":
        return BigramState(self.previous[index])


class Bigram:
    """Row 0 of (previous label, next) holds what begins a sentence; column N what ends it."""

    def __init__(self, pieces: int, *, seed: int = 5) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(pieces + 1, pieces + 1, generator=generator).log_softmax(dim=1)
        self.advanced = 0

    def start(self, hypotheses: int) -> BigramState:
        return BigramState(torch.zeros(hypotheses, dtype=torch.int64))

    def scores(self, state: BigramState) -> Tensor:
        return self.table[state.previous, :-1]

    def advance(self, state: BigramState, labels: Tensor) -> BigramState:
        assert len(state.previous) == len(labels)
        self.advanced += len(labels)
        return BigramState(labels)

    def end(self, state: BigramState) -> Tensor:
        return self.table[state.previous, -1]

    def log_prob(self, labels: Sequence[int]) -> float:
        before = [0, *labels]
        after = [*(label - 1 for label in labels), self.table.shape[1] - 1]
        return sum(float(self.table[pair]) for pair in zip(before, after, strict=True))


def random_log_probs(batch: int, time: int, vocab: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(batch, time, vocab, generator=generator)).log_softmax(dim=2)


def peaky_log_probs(batch: int, time: int, vocab: int, *, seed: int = 0) -> Tensor:
    """Mostly blank, with runs of labels, as a trained model gives."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, -(-time // 2), vocab, generator=generator)
    logits = 2 * logits.repeat_interleave(2, dim=1)[:, :time]
    logits += torch.randn(batch, time, vocab, generator=generator)
    logits[:, :, 0] += 2
    return logits.log_softmax(dim=2)


def spelled(rows: Sequence[Sequence[float]]) -> Tensor:
    """(1, time, vocab) log-probabilities of these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log().unsqueeze(0)


def search(
    log_probs: Tensor,
    config: BeamConfig,
    *,
    scorer: Scorer[BigramState] | None = None,
    lengths: Sequence[int] | None = None,
) -> list[Decoded]:
    beam = BeamSearch(config, scorer)
    batch, time, _ = log_probs.shape
    state = beam.start(batch, device=CPU)
    return beam.finish(beam.step(state, log_probs, torch.tensor(lengths or [time] * batch)))


def labels(tokens: Sequence[Token]) -> tuple[int, ...]:
    return tuple(token.label for token in tokens)


def collapsed(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def every_transcript(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of each label sequence: the sum over all alignments of (time, vocab)."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    rows = log_probs.double().exp().tolist()
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(rows)):
        sums[collapsed(path)] += math.prod(
            row[label] for row, label in zip(rows, path, strict=True)
        )
    return {prefix: math.log(total) for prefix, total in sums.items()}


def naive_search(log_probs: Tensor, config: BeamConfig, bigram: Bigram) -> list[tuple[int, ...]]:
    """Prefixes of (time, vocab), best first, in a dictionary."""

    def prior(prefix: tuple[int, ...]) -> float:
        assert config.lm_weight is not None
        lm_score = bigram.log_prob(prefix) - float(bigram.table[(0, *prefix)[-1], -1])
        return config.lm_weight * lm_score + config.length_bonus * len(prefix)

    def rank(prefix: tuple[int, ...]) -> float:
        return math.log(sum(held[prefix]) or 1e-300) + prior(prefix)

    # Probabilities of ending in blank and in the last label.
    held: dict[tuple[int, ...], list[float]] = {(): [1.0, 0.0]}
    for row in log_probs.double().exp().tolist():
        before, held = held, defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, nonblank) in before.items():
            held[prefix][0] += (blank + nonblank) * row[0]
            if prefix:
                held[prefix][1] += nonblank * row[prefix[-1]]
            for label in range(1, len(row)):
                usable = blank if prefix[-1:] == (label,) else blank + nonblank
                held[*prefix, label][1] += usable * row[label]
        held = {prefix: held[prefix] for prefix in sorted(held, key=rank)[-config.beam_size :]}
    return sorted(held, key=rank, reverse=True)
