"""Against sums over every alignment and a search in a dictionary."""

import math
from dataclasses import replace

import pytest
import torch

from asr.ctc.greedy import best_path
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from tests.ctc.beam_cases import (
    CPU,
    Bigram,
    every_transcript,
    labels,
    naive_search,
    peaky_log_probs,
    random_log_probs,
    search,
    spelled,
)

EVERY = BeamConfig(beam_size=200, nbest=200)


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
    [found] = search(log_probs, replace(EVERY, lm_weight=0.0), scorer=bigram)
    assert [item.score for item in found.nbest] == [item.score for item in plain.nbest]
    assert {labels(item.tokens) for item in found.nbest if item.lm_score > -math.inf} == {
        prefix for prefix in every_transcript(log_probs[0]) if 2 not in prefix
    }


def test_what_the_language_model_excludes_is_not_found() -> None:
    """No label 2 but at the start, and no end after it."""
    bigram = Bigram(2)
    bigram.table[1:, 1] = -torch.inf
    bigram.table[2, 2] = -torch.inf
    config = BeamConfig(beam_size=200, nbest=200, lm_weight=0.5)
    [found] = search(random_log_probs(1, 5, 3), config, scorer=bigram)
    allowed = [(), (1,), (1, 1), (1, 1, 1), (2, 1), (2, 1, 1), (2, 1, 1, 1)]
    transcripts = {labels(item.tokens) for item in found.nbest}
    assert transcripts == set(allowed) & every_transcript(random_log_probs(1, 5, 3)[0]).keys()
    assert all(math.isfinite(item.score) for item in found.nbest)


def test_only_what_grows_is_scored() -> None:
    """On sure blanks after the first frame nothing enters the beam, and the scorer rests."""
    rows = [[0.4, 0.3, 0.3]] + [[1.0, 0.0, 0.0]] * 50
    bigram = Bigram(2)
    search(spelled(rows), BeamConfig(beam_size=3, lm_weight=0.5), scorer=bigram)
    assert bigram.advanced == 2


def test_scorer_of_another_vocabulary() -> None:
    config = BeamConfig(beam_size=2, lm_weight=0.5)
    with pytest.raises(
        ValueError, match=r"expected a scorer of 3 token pieces.* found one of 2; use"
    ):
        search(random_log_probs(1, 4, 4), config, scorer=Bigram(2))


def test_language_model_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="expected lm_weight with a language model, found none"):
        BeamSearch(BeamConfig(beam_size=2), Bigram(2))


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
