"""Against sums over every alignment, and against one step on one item."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from asr.decoding.beam import BeamConfig, BeamSearch
from asr.decoding.decoder import Decoded, Token
from asr.decoding.greedy import best_path
from asr.decoding.scorer import Scorer

CPU = torch.device("cpu")
EVERY = BeamConfig(beam_size=200, nbest=200)


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


@pytest.mark.parametrize(
    ("time", "vocab"), [(1, 2), (1, 4), (2, 3), (5, 2), (5, 3), (7, 2), (4, 4), (6, 3), (3, 5)]
)
def test_equals_the_sum_over_all_alignments(time: int, vocab: int) -> None:
    log_probs = random_log_probs(2, time, vocab, seed=time)
    for item, decoded in enumerate(search(log_probs, EVERY)):
        expected = every_transcript(log_probs[item])
        found = {labels(sequence.tokens): sequence for sequence in decoded.nbest}
        assert len(found) == len(decoded.nbest)
        assert found.keys() == expected.keys()
        for prefix, sequence in found.items():
            assert sequence.acoustic_score == pytest.approx(expected[prefix], abs=1e-9)
            assert sequence.score == sequence.acoustic_score
            assert sequence.lm_score == 0.0
        scores = [sequence.score for sequence in decoded.nbest]
        assert scores == sorted(scores, reverse=True)
        assert decoded.best == decoded.nbest[0]


def naive_search(log_probs: Tensor, config: BeamConfig, bigram: Bigram) -> list[tuple[int, ...]]:
    """Prefixes of (time, vocab), best first, in a dictionary."""

    def prior(prefix: tuple[int, ...]) -> float:
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


@pytest.mark.parametrize("beam_size", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_narrow_beams_equal_a_naive_search(beam_size: int, seed: int) -> None:
    """Prefixes are dropped and found again, before and after what grew from them."""
    log_probs = (0.7 * random_log_probs(2, 25, 5, seed=seed)).log_softmax(dim=2)
    bigram = Bigram(4)
    config = BeamConfig(beam_size=beam_size, lm_weight=0.3, length_bonus=0.4)
    beam = BeamSearch(config, bigram)
    state = beam.step(beam.start(2, device=CPU), log_probs, torch.tensor([25, 25]))
    for item in range(2):
        counts = state.prefixes.counts[item].tolist()
        rows = state.tokens.labels[item].tolist()
        found = [tuple(row[:count]) for row, count in zip(rows, counts, strict=True)]
        assert found == naive_search(log_probs[item], config, bigram)


@pytest.mark.parametrize("lm_weight", [0.4, 1.3])
@pytest.mark.parametrize("length_bonus", [0.0, 0.9, -0.6])
def test_language_model_and_length_bonus(lm_weight: float, length_bonus: float) -> None:
    log_probs = random_log_probs(2, 5, 3, seed=3)
    bigram = Bigram(2)
    config = BeamConfig(beam_size=200, nbest=200, lm_weight=lm_weight, length_bonus=length_bonus)
    for item, decoded in enumerate(search(log_probs, config, scorer=bigram)):
        expected = every_transcript(log_probs[item])
        assert {labels(sequence.tokens) for sequence in decoded.nbest} == expected.keys()
        for sequence in decoded.nbest:
            prefix = labels(sequence.tokens)
            lm_score = bigram.log_prob(prefix)
            assert sequence.acoustic_score == pytest.approx(expected[prefix], abs=1e-9)
            assert sequence.lm_score == pytest.approx(lm_score, abs=1e-5)
            assert sequence.score == pytest.approx(
                expected[prefix] + lm_weight * lm_score + length_bonus * len(prefix), abs=1e-5
            )
        scores = [sequence.score for sequence in decoded.nbest]
        assert scores == sorted(scores, reverse=True)


def test_the_language_model_steers_a_narrow_beam() -> None:
    """Acoustically 1 is better at both frames; the language model forbids it after itself."""
    log_probs = spelled([[0.02, 0.5, 0.48], [0.96, 0.02, 0.02], [0.02, 0.5, 0.48]])
    bigram = Bigram(2)
    bigram.table = torch.tensor([[0.5, 0.4, 0.1], [0.01, 0.89, 0.1], [0.6, 0.3, 0.1]]).log()
    [plain] = search(log_probs, BeamConfig(beam_size=3))
    [fused] = search(log_probs, BeamConfig(beam_size=3, lm_weight=1.0), scorer=bigram)
    assert labels(plain.best.tokens) == (1, 1)
    assert labels(fused.best.tokens) == (1, 2)


def test_a_weight_of_zero_only_reports_the_language_model() -> None:
    log_probs = random_log_probs(1, 5, 3)
    bigram = Bigram(2)
    bigram.table[:, 1] = -torch.inf
    [plain] = search(log_probs, EVERY)
    [found] = search(log_probs, EVERY, scorer=bigram)
    assert [item.score for item in found.nbest] == [item.score for item in plain.nbest]
    assert {labels(item.tokens) for item in found.nbest if item.lm_score > -math.inf} == {
        prefix for prefix in every_transcript(log_probs[0]) if 2 not in prefix
    }


def test_only_what_grows_is_scored() -> None:
    """On sure blanks after the first frame nothing enters the beam, and the scorer rests."""
    rows = [[0.4, 0.3, 0.3]] + [[1.0, 0.0, 0.0]] * 50
    bigram = Bigram(2)
    search(spelled(rows), BeamConfig(beam_size=3, lm_weight=0.5), scorer=bigram)
    assert bigram.advanced == 2


def test_scorer_of_another_vocabulary() -> None:
    with pytest.raises(
        ValueError, match=r"expected a scorer of 3 token pieces.* found one of 2; use"
    ):
        search(random_log_probs(1, 4, 4), BeamConfig(beam_size=2), scorer=Bigram(2))


@pytest.mark.parametrize(("rows", "expected"), [(2, (1,)), (3, (1, 1))])
def test_a_repeated_label_needs_a_blank(rows: int, expected: tuple[int, ...]) -> None:
    sure = [[0.01, 0.98, 0.01], [0.01, 0.98, 0.01]]
    if rows == 3:
        sure.insert(1, [0.98, 0.01, 0.01])
    [decoded] = search(spelled(sure), BeamConfig(beam_size=4))
    assert labels(decoded.best.tokens) == expected


def test_sums_beat_the_best_path() -> None:
    """The textbook case: blank is the best path, yet the label is the best transcript."""
    [decoded] = search(spelled([[0.6, 0.4], [0.6, 0.4]]), BeamConfig(beam_size=2))
    assert labels(decoded.best.tokens) == (1,)
    assert decoded.best.score == pytest.approx(math.log(1 - 0.36))


def test_beam_of_one_by_hand() -> None:
    """The empty prefix wins the first frame, so that its rivals' alignments are lost."""
    [decoded] = search(
        spelled([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]]), BeamConfig(beam_size=1)
    )
    assert labels(decoded.best.tokens) == (1,)
    # It stays by blank and by its own repetition.
    assert decoded.best.score == pytest.approx(math.log(0.5 * 0.7 * (0.6 + 0.3)))


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_is_at_least_as_good_as_greedy(seed: int) -> None:
    log_probs = peaky_log_probs(4, 40, 9, seed=seed)
    path = best_path(log_probs, torch.tensor([40] * 4))
    previous = [-math.inf] * 4
    for beam_size in (16, 64):
        decoded = search(log_probs, BeamConfig(beam_size=beam_size))
        scores = [item.best.score for item in decoded]
        assert all(a >= b for a, b in zip(scores, path.log_probs.sum(dim=1).tolist(), strict=True))
        assert all(a >= b - 1e-9 for a, b in zip(scores, previous, strict=True))
        previous = scores


@pytest.mark.parametrize("scorer", [None, Bigram(8)])
@pytest.mark.parametrize("candidate_labels", [None, 3])
def test_items_and_padding_change_nothing(
    scorer: Bigram | None, candidate_labels: int | None
) -> None:
    lengths = [30, 1, 0, 17, 29]
    log_probs = peaky_log_probs(5, 30, 9)
    for item, length in enumerate(lengths):
        log_probs[item, length:] = torch.nan
    config = BeamConfig(
        beam_size=4, nbest=3, lm_weight=0.5, length_bonus=0.2, candidate_labels=candidate_labels
    )
    together = search(log_probs, config, scorer=scorer, lengths=lengths)
    for item, length in enumerate(lengths):
        alone = search(log_probs[item : item + 1, :length], config, scorer=scorer)
        assert [together[item]] == alone


@pytest.mark.parametrize("scorer", [None, Bigram(8)])
def test_steps_equal_one_step(scorer: Bigram | None) -> None:
    """Chunks of other lengths for each item, one frame and none among them."""
    log_probs = peaky_log_probs(2, 24, 9, seed=2)
    config = BeamConfig(beam_size=5, nbest=5, lm_weight=0.5)
    whole = search(log_probs, config, scorer=scorer)
    beam = BeamSearch(config, scorer)
    state = beam.start(2, device=CPU)
    places = [0, 0]
    for lengths in ([7, 1], [1, 0], [0, 5], [8, 8], [3, 2], [5, 8]):
        chunk = torch.full((2, 8, 9), torch.nan)
        for item, length in enumerate(lengths):
            chunk[item, :length] = log_probs[item, places[item] : places[item] + length]
            places[item] += length
        state = beam.step(state, chunk, torch.tensor(lengths))
        assert state.frames.tolist() == places
    assert beam.finish(state) == whole


def test_a_step_leaves_the_state_before_it_as_it_is() -> None:
    beam = BeamSearch(BeamConfig(beam_size=5, nbest=5))
    log_probs = peaky_log_probs(1, 20, 9)
    before = beam.step(beam.start(1, device=CPU), log_probs[:, :10], torch.tensor([10]))
    first = beam.finish(beam.step(before, log_probs[:, 10:], torch.tensor([10])))
    assert beam.finish(beam.step(before, log_probs[:, 10:], torch.tensor([10]))) == first


@pytest.mark.parametrize("scorer", [None, Bigram(8)])
def test_selected_items_go_on_alone(scorer: Bigram | None) -> None:
    log_probs = peaky_log_probs(3, 20, 9)
    config = BeamConfig(beam_size=4, nbest=4, lm_weight=0.5)
    beam = BeamSearch(config, scorer)
    state = beam.step(beam.start(3, device=CPU), log_probs[:, :9], torch.tensor([9, 9, 9]))
    chosen = torch.tensor([2, 0])
    state = beam.step(state.select(chosen), log_probs[chosen, 9:], torch.tensor([11, 11]))
    whole = search(log_probs, config, scorer=scorer)
    assert beam.finish(state) == [whole[2], whole[0]]


def test_best_labels_so_far() -> None:
    log_probs = peaky_log_probs(3, 20, 9)
    beam = BeamSearch(BeamConfig(beam_size=4))
    state = beam.start(3, device=CPU)
    assert state.best_labels() == [[], [], []]
    for start in range(0, 20, 5):
        state = beam.step(state, log_probs[:, start : start + 5], torch.tensor([5, 5, 5]))
        best = [labels(decoded.best.tokens) for decoded in beam.finish(state)]
        assert [tuple(row) for row in state.best_labels()] == best
    assert len(set(best)) == 3


def test_frames_and_posteriors_by_hand() -> None:
    rows = [
        [0.90, 0.06, 0.04],
        [0.30, 0.60, 0.10],  # 1
        [0.20, 0.70, 0.10],
        [0.60, 0.30, 0.10],
        [0.80, 0.10, 0.10],
        [0.20, 0.75, 0.05],  # 1
        [0.10, 0.10, 0.80],  # 2
        [0.05, 0.05, 0.90],
    ]
    [decoded] = search(spelled(rows), BeamConfig(beam_size=8))
    tokens = decoded.best.tokens
    assert [(t.label, t.start_frame, t.end_frame) for t in tokens] == [
        (1, 1, 3),
        (1, 5, 6),
        (2, 6, 8),
    ]
    assert [token.posterior for token in tokens] == pytest.approx([0.70, 0.75, 0.90])


def test_a_guess_before_the_label_does_not_date_it() -> None:
    """The label enters the beam at the first frame with a share of 1 % and is heard at the last."""
    rows = [[0.99, 0.01]] + [[1.0 - 1e-6, 1e-6]] * 20 + [[0.1, 0.9]]
    [decoded] = search(spelled(rows), BeamConfig(beam_size=2))
    assert [(token.start_frame, token.end_frame) for token in decoded.best.tokens] == [(21, 22)]


@pytest.mark.parametrize("seed", range(3))
def test_frames_are_those_of_the_best_path_where_speech_is_clear(seed: int) -> None:
    peaks = peaky_log_probs(3, 60, 7, seed=seed).argmax(dim=2)
    log_probs = random_log_probs(3, 60, 7, seed=seed)
    clear = log_probs.scatter_add(2, peaks.unsqueeze(2), torch.full((3, 60, 1), 9.0))
    decoded = search(clear.log_softmax(dim=2), BeamConfig(beam_size=8))
    for item, row in enumerate(peaks.tolist()):
        expected = []
        for label, run in itertools.groupby(enumerate(row), key=lambda frame: frame[1]):
            frames = [frame for frame, _ in run]
            if label != 0:
                expected.append((label, frames[0], frames[-1] + 1))
        tokens = decoded[item].best.tokens
        assert [(t.label, t.start_frame, t.end_frame) for t in tokens] == expected
        assert len(expected) > 10


def test_candidates_restrict_what_may_be_appended() -> None:
    log_probs = spelled([[0.1, 0.5, 0.4], [0.2, 0.3, 0.5]])
    [decoded] = search(log_probs, BeamConfig(beam_size=50, nbest=50, candidate_labels=1))
    found = {labels(sequence.tokens): sequence.score for sequence in decoded.nbest}
    assert found == {
        (): pytest.approx(math.log(0.1 * 0.2)),
        # A prefix that is held takes up all of its alignments, candidates or not.
        (1,): pytest.approx(math.log(0.5 * 0.2 + 0.5 * 0.3 + 0.1 * 0.3)),
        (2,): pytest.approx(math.log(0.1 * 0.5)),
        (1, 2): pytest.approx(math.log(0.5 * 0.5)),
    }


@pytest.mark.parametrize("candidate_labels", [8, 1000])
def test_all_labels_as_candidates_are_exact(candidate_labels: int) -> None:
    log_probs = peaky_log_probs(2, 30, 9)
    exact = search(log_probs, BeamConfig(beam_size=6, nbest=6))
    config = BeamConfig(beam_size=6, nbest=6, candidate_labels=candidate_labels)
    assert search(log_probs, config) == exact


@pytest.mark.parametrize("shape", [(0, 5, 4), (0, 0, 4), (2, 0, 4)])
def test_nothing_to_decode(shape: tuple[int, int, int]) -> None:
    found = search(torch.zeros(shape), BeamConfig(beam_size=4, nbest=4))
    assert [(item.best.tokens, item.best.score, len(item.nbest)) for item in found] == [
        ((), 0.0, 1)
    ] * shape[0]


def test_one_best_has_no_list() -> None:
    [decoded] = search(random_log_probs(1, 5, 3), BeamConfig(beam_size=4))
    assert decoded.nbest == ()


def test_sums_keep_their_precision_over_an_hour() -> None:
    """90,000 frames: near -125,000 a float32 is a hundredth, which would move each sum."""
    chunk = torch.tensor([0.25, 0.75]).log().expand(1, 900, 2)
    beam = BeamSearch(BeamConfig(beam_size=1, length_bonus=-50.0))
    state = beam.start(1, device=CPU)
    state = state._replace(prefixes=state.prefixes._replace(blank=state.prefixes.blank - 125_000))
    [decoded] = beam.finish(beam.step(state, chunk, torch.tensor([900])))
    assert decoded.best.tokens == ()
    expected = 900 * float(torch.tensor(0.25).log())
    assert decoded.best.score + 125_000 == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"beam_size": 4, "nbest": 0}, "nbest"),
        ({"beam_size": 4, "nbest": 5}, "expected nbest <= beam_size, found 5 and 4; raise"),
        ({"beam_size": 4, "lm_weight": -0.1}, "lm_weight"),
        ({"beam_size": 4, "length_bonus": math.inf}, "length_bonus"),
        ({"beam_size": 4, "candidate_labels": 0}, "candidate_labels"),
        ({"beam_size": 4, "beam": 1}, "beam"),
    ],
)
def test_config_is_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BeamConfig(**settings)  # type: ignore[arg-type]
