import math
import sys
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.ctc.lexicon_beam import LexiconConfig, LexiconDecoder
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


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text(arpa_text(), encoding="utf-8")
    return path


def decoder(arpa: Path, **settings: float) -> LexiconDecoder:
    given = {"beam_size": 100, "lm_weight": 0.5, "word_score": 0.0} | settings
    config = parse(LexiconConfig, given, where="")
    return LexiconDecoder(WORDS, arpa, config, vocab_size=VOCAB_SIZE)


def decode(decoder: LexiconDecoder, log_probs: Tensor, *, chunk: int | None = None) -> Decoded:
    """One item (time, vocab), in steps of so many frames."""
    state = decoder.start(1, device=log_probs.device)
    for part in torch.split(log_probs, chunk or max(1, len(log_probs))):
        state = decoder.step(state, part.unsqueeze(0), torch.tensor([len(part)]))
    [decoded] = decoder.finish(state)
    return decoded


def text(sequence: TokenSequence) -> str:
    assert sequence.words is not None
    assert sequence.tokens == tuple(chain.from_iterable(word.tokens for word in sequence.words))
    return " ".join(word.text for word in sequence.words)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("lm_weight", "word_score"), [(0.7, 0.4), (1.5, -1.0), (0.0, 0.0)])
def test_equals_a_sum_over_all_alignments_of_all_sentences(
    arpa: Path, seed: int, lm_weight: float, word_score: float
) -> None:
    log_probs = random_log_probs(6, seed)
    expected = brute_force(log_probs, lm_weight=lm_weight, word_score=word_score)
    settings = {"lm_weight": lm_weight, "word_score": word_score, "nbest": 10_000}
    decoded = decode(decoder(arpa, **settings, **WIDE), log_probs)
    assert decoded.best == decoded.nbest[0]
    assert len(expected) > 100
    assert len(decoded.nbest) == len(expected)
    assert set(map(text, decoded.nbest)) == expected.keys()
    for item in decoded.nbest:
        score, acoustic, lm = expected[text(item)]
        assert item.score == pytest.approx(score, abs=1e-4)
        assert item.acoustic_score == pytest.approx(acoustic, abs=1e-4)
        assert item.lm_score == pytest.approx(lm, abs=1e-4)
    scores = [item.score for item in decoded.nbest]
    assert scores == sorted(scores, reverse=True)


def test_narrow_beam_finds_the_clear_sentence(arpa: Path) -> None:
    log_probs = peaky([1, 2, 2, 0, 2, 0, 3, 3, 0, 1])
    decoded = decode(decoder(arpa, beam_size=8, candidate_labels=3), log_probs)
    assert text(decoded.best) == "ABB BA A"
    assert decoded.nbest == ()


def peaky(labels: list[int], probability: float = 0.97) -> Tensor:
    rest = (1 - probability) / VOCAB_SIZE
    probabilities = torch.full((len(labels), VOCAB_SIZE + 1), rest, dtype=torch.float64)
    probabilities[torch.arange(len(labels)), torch.tensor(labels)] = probability
    return probabilities.log()


def frames_of_words(sequence: TokenSequence) -> list[tuple[int, int]]:
    return [
        (word.tokens[0].start_frame, word.tokens[-1].end_frame) for word in sequence.words or ()
    ]


def test_frames_and_posteriors_by_hand(arpa: Path) -> None:
    # Words that end in a token of several frames, follow each other without a blank, and repeat.
    log_probs = peaky([0, 1, 1, 0, 2, 2, 2, 3, 3, 0, 0, 1, 0])
    log_probs[5] = torch.tensor([0.05, 0.05, 0.85, 0.05]).log()
    log_probs[11] = torch.tensor([0.2, 0.6, 0.1, 0.1]).log()
    best = decode(decoder(arpa, lm_weight=0.1), log_probs).best
    assert text(best) == "AB BA A"
    assert frames_of_words(best) == [(1, 7), (7, 9), (11, 12)]
    assert [(token.label, token.start_frame, token.end_frame) for token in best.tokens] == [
        (1, 1, 3),
        (2, 4, 7),
        (3, 7, 9),
        (1, 11, 12),
    ]
    posteriors = [token.posterior for token in best.tokens]
    assert posteriors == pytest.approx([0.97, 0.97, 0.97, 0.6], abs=1e-4)


def test_batch_and_padding_change_nothing(arpa: Path) -> None:
    lengths = [7, 0, 4]
    log_probs = torch.full((3, 7, VOCAB_SIZE + 1), math.nan)
    for item, length in enumerate(lengths):
        log_probs[item, :length] = random_log_probs(length, seed=item)
    search = decoder(arpa, nbest=3)
    state = search.step(search.start(3, device=log_probs.device), log_probs, torch.tensor(lengths))
    found = search.finish(state)
    for item, length in enumerate(lengths):
        assert found[item] == decode(search, log_probs[item, :length])
    assert [(text(one), one.score) for one in found[1].nbest] == [("", 0.0)]


STRETCHES = [[0, 1, 0, 2, 1, 0, 0], [0, 0, 0, 3, 3, 0, 1, 0], [0, 1, 2, 0]]


@pytest.mark.parametrize("chunk", [None, 1, 4, 11])
def test_long_recording_is_cut_in_pauses(arpa: Path, chunk: int | None) -> None:
    search = decoder(arpa, limit_frames=10)
    best = decode(search, peaky([*chain.from_iterable(STRETCHES)]), chunk=chunk).best
    parts = [decode(search, peaky(labels)).best for labels in STRETCHES]
    assert text(best) == "A BA BA A AB" == " ".join(map(text, parts))
    assert best.score == pytest.approx(sum(part.score for part in parts))
    assert best.acoustic_score == pytest.approx(sum(part.acoustic_score for part in parts))
    assert best.lm_score == pytest.approx(sum(part.lm_score for part in parts))
    assert frames_of_words(best) == [(1, 2), (3, 5), (10, 12), (13, 14), (16, 18)]


def test_nbest_of_a_long_recording_are_the_best_of_all_combinations(arpa: Path) -> None:
    parts = [peaky(labels, 0.6) for labels in STRETCHES]
    every = [decode(decoder(arpa, nbest=50), part).nbest for part in parts]
    combinations = sorted(
        (sum(one.score for one in some), " ".join(filter(None, map(text, some))))
        for some in product(*every)
    )[::-1][:20]
    found = decode(decoder(arpa, nbest=20, limit_frames=10), torch.cat(parts)).nbest
    assert [one.score for one in found] == pytest.approx([score for score, _ in combinations])
    assert list(map(text, found)) == [words for _, words in combinations]


def test_best_labels_are_those_of_found_words_and_of_pending_frames(arpa: Path) -> None:
    search = decoder(arpa, limit_frames=10)
    log_probs = peaky([*chain.from_iterable(STRETCHES)]).unsqueeze(0)
    state = search.start(1, device=log_probs.device)
    assert search.best_labels(state) == [[]]
    for end, labels in ((9, [1, 2, 1]), (19, [1, 2, 1, 3, 1, 1, 2])):
        state = search.start(1, device=log_probs.device)
        state = search.step(state, log_probs[:, :end], torch.tensor([end]))
        assert search.best_labels(state) == [labels]


def test_decoded_frames_are_freed(arpa: Path) -> None:
    search = decoder(arpa, limit_frames=10)
    state = search.start(1, device=torch.device("cpu"))
    log_probs = peaky([*chain.from_iterable(STRETCHES)] * 20).unsqueeze(0)
    [item] = search.step(state, log_probs, torch.tensor([log_probs.shape[1]]))
    assert item.first_frame + len(item.pending) == log_probs.shape[1]
    rows = item.pending.untyped_storage().nbytes() / (4 * (VOCAB_SIZE + 1))
    assert rows == len(item.pending) <= 10


def test_step_leaves_the_state_before_it(arpa: Path) -> None:
    search = decoder(arpa, limit_frames=10)
    log_probs = peaky([*chain.from_iterable(STRETCHES)]).unsqueeze(0)
    lengths = torch.tensor([log_probs.shape[1]])
    start = search.step(search.start(1, device=log_probs.device), log_probs[:, :0], lengths * 0)
    first = search.finish(search.step(start, log_probs, lengths))
    assert search.finish(search.step(start, log_probs, lengths)) == first


def test_unfinished_word_is_left_out(arpa: Path) -> None:
    # A narrow beam follows the second label, which is no word, to the end.
    settings = {"beam_threshold": 1.0, "lm_weight": 0.0, "nbest": 5}
    found = decode(decoder(arpa, **settings), peaky([3, 0, 2], 0.9999)).nbest
    assert list(map(text, found)) == ["BA"]
    assert frames_of_words(found[0]) == [(0, 1)]


def test_other_number_of_labels(arpa: Path) -> None:
    with pytest.raises(ValueError, match="expected log_probs of 4 labels, found 6"):
        decode(decoder(arpa), torch.zeros(2, 6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"candidate_labels": 0}, "candidate_labels"),
        ({"beam_threshold": 0.0}, "beam_threshold"),
        ({"lm_weight": -0.1}, "lm_weight"),
        ({"word_score": math.nan}, "word_score"),
        ({"limit_frames": 0}, "limit_frames"),
        ({"nbest": 0}, "nbest"),
        ({"nbest": 4, "beam_size": 3}, "expected nbest <= beam_size, found 4 and 3"),
    ],
)
def test_config_is_checked(arpa: Path, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoder(arpa, **settings)


@pytest.mark.parametrize("cut", ["\\end\\", "-0.1\tba </s>", "-2.0\tc c"])
def test_truncated_language_model(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "cut.arpa"
    path.write_text(arpa_text().partition(cut)[0], encoding="utf-8")
    with pytest.raises(ValueError, match=r"cut.arpa: expected a complete ARPA file .*found: ") as e:
        decoder(path)
    assert "\n" not in str(e.value)


def test_missing_extra(arpa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder.kenlm", None)
    with pytest.raises(FileNotFoundError, match=r"run: tools/setup\.sh lm"):
        decoder(arpa)


def test_hypotheses_go_on_with_the_candidate_labels_alone(tmp_path: Path) -> None:
    (tmp_path / "words.arpa").write_text(arpa_text(), encoding="utf-8")
    log_probs = torch.tensor([[0.1, 0.5, 0.3, 0.1], [0.2, 0.3, 0.4, 0.1]]).log()
    texts = []
    for candidates in (1, 4):
        config = LexiconConfig(
            beam_size=50, nbest=50, lm_weight=0.0, word_score=0.0, candidate_labels=candidates
        )
        decoder = LexiconDecoder(WORDS, tmp_path / "words.arpa", config, vocab_size=VOCAB_SIZE)
        state: Any = decoder.start(1, device=torch.device("cpu"))
        state = decoder.step(state, log_probs.unsqueeze(0), torch.tensor([2]))
        [found] = decoder.finish(state)
        texts.append({" ".join(word.text for word in each.words or ()) for each in found.nbest})
    # The most probable labels are 1, then 2, which spell AB; BA is 2, 1 or 3.
    assert "AB" in texts[0] & texts[1]
    assert "BA" in texts[1] - texts[0]
