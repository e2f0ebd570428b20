"""The blank penalty changes what a search finds, not what the model is said to have heard."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.ctc.decoder import Decoder, penalise_blank
from asr.ctc.lexicon_beam import LexiconConfig, LexiconDecoder
from asr.ctc.loss import ctc_losses
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.schema import parse
from asr.transcripts.tokens import Decoded, TokenSequence
from tests.ctc.lexicon_cases import (
    VOCAB_SIZE,
    WIDE,
    WORDS,
    arpa_text,
    brute_force,
    random_log_probs,
)

_LENGTHS = torch.tensor([9, 4])


def _decoded(decoder: Decoder[Any], log_probs: Tensor, *, steps: int = 1) -> list[Decoded]:
    state = decoder.start(2, device=torch.device("cpu"))
    for part in range(steps):
        frames = slice(part * 9 // steps, (part + 1) * 9 // steps)
        here = (_LENGTHS - frames.start).clamp(0, frames.stop - frames.start)
        state = decoder.step(state, log_probs[:, frames], here)
    labels = decoder.best_labels(state)
    found = list(decoder.finish(state))
    assert [[token.label for token in item.best.tokens] for item in found] == labels
    return found


def _search(penalty: float, *, nbest: int = 1, beam_size: int = 200) -> BeamSearch:
    return BeamSearch(BeamConfig(beam_size=beam_size, nbest=nbest, blank_penalty=penalty))


def _by_labels(decoded: Decoded) -> dict[tuple[int, ...], TokenSequence]:
    return {tuple(token.label for token in each.tokens): each for each in decoded.nbest}


def test_penalty_is_taken_from_the_blank_of_every_frame() -> None:
    log_probs = torch.tensor([[[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]]]).log()
    found = penalise_blank(log_probs, torch.tensor(2.0).log().item()).exp()
    expected = torch.tensor([[0.25, 0.3, 0.2], [0.45, 0.1, 0.0]])
    torch.testing.assert_close(found[0], expected / expected.sum(dim=1, keepdim=True))
    assert penalise_blank(log_probs, 0.0) is log_probs


@pytest.mark.parametrize("steps", [1, 3])
def test_search_is_that_of_another_probability_of_the_blank(steps: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 5)
    penalised = logits - 1.5 * torch.tensor([1.0, 0, 0, 0, 0])
    found = _decoded(_search(1.5, nbest=3), logits.log_softmax(2), steps=steps)
    expected = _decoded(_search(0.0, nbest=3), penalised.log_softmax(2), steps=steps)
    for one, other in zip(found, expected, strict=True):
        assert list(_by_labels(one)) == list(_by_labels(other))
        for mine, its in zip(one.nbest, other.nbest, strict=True):
            assert mine.score == pytest.approx(its.score, rel=1e-5)
            times = [
                [(token.start_frame, token.end_frame) for token in each.tokens]
                for each in (mine, its)
            ]
            assert times[0] == times[1]


@pytest.mark.parametrize("steps", [1, 3])
def test_acoustic_score_and_posteriors_are_the_models(steps: int) -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(2, 9, 3).log_softmax(2)
    # The beam holds every prefix of at most nine labels out of two.
    found = _decoded(_search(1.5, nbest=20, beam_size=1100), log_probs, steps=steps)
    for decoded, frames, length in zip(found, log_probs, _LENGTHS, strict=True):
        assert len(decoded.nbest) >= 15
        for labels, item in _by_labels(decoded).items():
            loss = ctc_losses(
                frames.unsqueeze(0),
                length.unsqueeze(0),
                torch.tensor([labels], dtype=torch.int64),
                torch.tensor([len(labels)]),
            )
            assert item.acoustic_score == pytest.approx(-float(loss), abs=1e-4)
            assert item.score == pytest.approx(item.acoustic_score + item.blank_penalty_score)
            assert item.blank_penalty_score != 0
            for token in item.tokens:
                carriers = frames[token.start_frame : token.end_frame, token.label]
                assert token.posterior == pytest.approx(float(carriers.max().exp()), rel=1e-5)


def test_without_a_penalty_there_is_no_part_of_it() -> None:
    torch.manual_seed(0)
    for decoded in _decoded(_search(0.0, nbest=5), torch.randn(2, 9, 4).log_softmax(2)):
        assert {item.blank_penalty_score for item in decoded.nbest} == {0.0}
        assert all(item.score == item.acoustic_score for item in decoded.nbest)


def test_more_labels_where_blanks_are_likely() -> None:
    log_probs = torch.tensor([0.6, 0.4]).log().expand(2, 9, 2).clone()
    lengths = {
        penalty: sum(len(item.best.tokens) for item in _decoded(_search(penalty), log_probs))
        for penalty in (-3.0, 0.0, 0.4)
    }
    assert lengths[-3.0] < lengths[0.0] <= lengths[0.4]


@pytest.fixture
def lexicon_items(tmp_path: Path) -> tuple[Tensor, Decoded]:
    """Log-probabilities (time, vocab) and all sentences under a penalty of 1.5."""
    path = tmp_path / "words.arpa"
    path.write_text(arpa_text(), encoding="utf-8")
    settings = {"lm_weight": 0.7, "word_score": 0.4, "nbest": 10_000, "blank_penalty": 1.5}
    config = parse(LexiconConfig, {**settings, **WIDE}, where="")
    search = LexiconDecoder(WORDS, path, config, vocab_size=VOCAB_SIZE)
    log_probs = random_log_probs(6, seed=1)
    state = search.start(1, device=log_probs.device)
    state = search.step(state, log_probs.unsqueeze(0), torch.tensor([6]))
    assert search.best_labels(state)
    [decoded] = search.finish(state)
    return log_probs, decoded


def test_lexicon_search_is_penalised_and_its_acoustic_score_is_not(
    lexicon_items: tuple[Tensor, Decoded],
) -> None:
    log_probs, decoded = lexicon_items
    model = brute_force(log_probs, lm_weight=0.7, word_score=0.4)
    searched = brute_force(penalise_blank(log_probs, 1.5), lm_weight=0.7, word_score=0.4)
    assert len(decoded.nbest) == len(searched)
    exact = 0
    for item in decoded.nbest:
        assert item.words is not None
        text = " ".join(word.text for word in item.words)
        score, penalised, _ = searched[text]
        assert item.score == pytest.approx(score, abs=1e-4)
        assert item.acoustic_score + item.blank_penalty_score == pytest.approx(penalised, abs=1e-4)
        # A and ABB have one spelling, and every way to read their labels is theirs.
        if "BA" not in text.split():
            exact += 1
            assert item.acoustic_score == pytest.approx(model[text][1], abs=1e-4)
            assert item.blank_penalty_score != 0
        for token in item.tokens:
            carriers = log_probs[token.start_frame : token.end_frame, token.label]
            assert token.posterior == pytest.approx(float(carriers.max().exp()), rel=1e-5)
    assert exact > 20
