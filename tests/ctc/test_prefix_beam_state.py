"""One step on one item is the oracle of steps and batches; frames of labels by hand."""

import itertools

import pytest
import torch

from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from tests.ctc.beam_cases import (
    CPU,
    Bigram,
    labels,
    peaky_log_probs,
    random_log_probs,
    search,
    spelled,
)


@pytest.mark.parametrize("padding", ["NaN", "speech"])
@pytest.mark.parametrize("scorer", [None, Bigram(8)])
@pytest.mark.parametrize("candidate_labels", [None, 3])
def test_items_and_padding_change_nothing(
    scorer: Bigram | None, candidate_labels: int | None, padding: str
) -> None:
    lengths = [30, 1, 0, 17, 29]
    log_probs = peaky_log_probs(5, 30, 9)
    for item, length in enumerate(lengths):
        if padding == "NaN":
            log_probs[item, length:] = torch.nan
        elif length > 0:
            # The last label goes on.
            last = log_probs[item, length - 1, 1:].argmax() + 1
            log_probs[item, length - 1 :] = -10.0
            log_probs[item, length - 1 :, last] = 0.0
    config = BeamConfig(
        beam_size=4, nbest=3, lm_weight=0.5, length_bonus=0.2, candidate_labels=candidate_labels
    )
    together = search(log_probs, config, scorer=scorer, lengths=lengths)
    for item, length in enumerate(lengths):
        (alone,) = search(log_probs[item : item + 1, :length], config, scorer=scorer)
        assert together[item].best == together[item].nbest[0]
        for left, right in zip(together[item].nbest, alone.nbest, strict=True):
            assert (left.tokens, left.lm_score, left.words) == (
                right.tokens,
                right.lm_score,
                right.words,
            )
            # The last bit of a logarithm depends on its place in a vector register.
            assert (left.score, left.acoustic_score) == pytest.approx(
                (right.score, right.acoustic_score), rel=1e-12
            )


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


def test_a_run_that_has_ended_does_not_go_on() -> None:
    """In the last frame 1 beats blank, yet (1,) ended its run before, in one step or in many."""
    log_probs = spelled([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.30, 0.31, 0.39]])
    beam = BeamSearch(BeamConfig(beam_size=8, nbest=8))
    whole = beam.finish(beam.step(beam.start(1, device=CPU), log_probs, torch.tensor([3])))
    state = beam.start(1, device=CPU)
    for time in range(3):
        state = beam.step(state, log_probs[:, time : time + 1], torch.tensor([1]))
    assert beam.finish(state) == whole
    [one] = [item for item in whole[0].nbest if labels(item.tokens) == (1,)]
    assert (one.tokens[0].start_frame, one.tokens[0].end_frame) == (0, 1)


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


def test_sums_keep_their_precision_over_an_hour() -> None:
    """After 90,000 frames: near -125,000 a float32 is a hundredth, which would move each sum."""
    beam = BeamSearch(BeamConfig(beam_size=1, length_bonus=0.7))
    state = beam.start(1, device=CPU)
    prefixes = state.prefixes
    prefixes = prefixes._replace(blank=prefixes.blank - 125_000, counts=prefixes.counts + 20_000)
    chunk = torch.tensor([0.75, 0.25]).log().expand(1, 900, 2)
    state = beam.step(state._replace(prefixes=prefixes), chunk, torch.tensor([900]))
    [decoded] = beam.finish(state)
    expected = 900 * float(torch.tensor(0.75).log())
    assert decoded.best.acoustic_score + 125_000 == pytest.approx(expected, abs=1e-6)
    assert decoded.best.score - decoded.best.acoustic_score == pytest.approx(14_000, abs=1e-6)
