import math
from itertools import groupby

import pytest
import torch
from torch import Tensor

from asr.ctc.greedy import GreedyDecoder, best_path, greedy_decode
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis, Word


def label(tokenizer: Tokenizer, piece: str) -> int:
    return 0 if piece == "-" else tokenizer.pieces.index(piece.replace("_", "\u2581")) + 1


def spelled(tokenizer: Tokenizer, frames: list[tuple[str, float]]) -> Tensor:
    """(1, time, vocab) log-probabilities; each frame gives one piece its probability."""
    vocab = tokenizer.vocab_size + 1
    probabilities = torch.empty(1, len(frames), vocab, dtype=torch.float64)
    for time, (piece, probability) in enumerate(frames):
        probabilities[0, time] = (1 - probability) / (vocab - 1)
        probabilities[0, time, label(tokenizer, piece)] = probability
    return probabilities.log()


def decode_one(log_probs: Tensor, tokenizer: Tokenizer, duration: float = 10.0) -> Hypothesis:
    [hypothesis] = greedy_decode(
        log_probs,
        torch.tensor([log_probs.shape[1]]),
        tokenizer,
        frame_seconds=0.04,
        durations_seconds=[duration],
    )
    return hypothesis


def assert_close(found: Hypothesis, expected: Hypothesis) -> None:
    assert found.text == expected.text
    assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert found.duration_seconds == expected.duration_seconds
    assert [word.word for word in found.words] == [word.word for word in expected.words]
    assert [word.confidence for word in found.words] == pytest.approx(
        [word.confidence for word in expected.words]
    )


def assert_times(found: Hypothesis, expected: list[tuple[float, float]]) -> None:
    times = [(word.start_seconds, word.end_seconds) for word in found.words]
    assert times == [pytest.approx(pair) for pair in expected]


def test_words_by_hand(letters: Tokenizer) -> None:
    frames = [
        ("-", 0.9),
        ("_", 0.8),
        ("T", 0.5),
        ("T", 0.7),
        ("-", 0.9),
        ("T", 0.6),
        ("_", 0.4),
        ("_", 0.5),
        ("A", 1.0 - 1e-9),
        ("-", 0.9),
    ]
    hypothesis = decode_one(spelled(letters, frames), letters)
    assert hypothesis.text == "TT A"
    assert hypothesis.score == pytest.approx(sum(math.log(p) for _, p in frames), abs=1e-6)
    assert [word.word for word in hypothesis.words] == ["TT", "A"]
    assert [word.confidence for word in hypothesis.words] == pytest.approx(
        [(0.8 + 0.7 + 0.6) / 3, (0.5 + 1.0) / 2]
    )
    # The marks' middles are at 0.06 and 0.28 s, so the pace is 0.11 s a letter; TT lacks 0.04 s and
    # A 0.03 s. Between them are 0.04 s, four sevenths of what they lack; outside there is enough.
    tt, a = 0.04 / (11 / 7), 0.03 / (11 / 7)
    assert_times(hypothesis, [(0.06 - tt, 0.24 + tt * 4 / 7), (0.28 - a * 4 / 7, 0.36 + a)])
    assert hypothesis.duration_seconds == 10.0


def test_first_word_needs_no_word_start(letters: Tokenizer) -> None:
    hypothesis = decode_one(spelled(letters, [("O", 0.9), ("_", 0.9), ("X", 0.9)]), letters)
    assert [word.word for word in hypothesis.words] == ["O", "X"]


def test_lone_word_starts_make_no_words(letters: Tokenizer) -> None:
    frames = [("_", 0.9), ("-", 0.9), ("_", 0.9), ("A", 0.9), ("_", 0.9)]
    hypothesis = decode_one(spelled(letters, frames), letters)
    assert hypothesis.text == "A"
    # From the middle of the mark to the end of A.
    assert_times(hypothesis, [(0.1, 0.16)])


def test_only_blanks_give_an_empty_hypothesis(letters: Tokenizer) -> None:
    hypothesis = decode_one(spelled(letters, [("-", 0.9)] * 3), letters)
    assert (hypothesis.text, hypothesis.words) == ("", ())
    assert hypothesis.score == pytest.approx(3 * math.log(0.9))


def test_no_word_ends_after_the_audio(letters: Tokenizer) -> None:
    hypothesis = decode_one(spelled(letters, [("-", 0.9), ("A", 0.9)]), letters, duration=0.05)
    assert hypothesis.words[0].end_seconds == 0.05


def test_equal_labels_of_neighbouring_items_do_not_merge(letters: Tokenizer) -> None:
    one = spelled(letters, [("A", 0.9), ("A", 0.8)])
    hypotheses = greedy_decode(
        one.repeat(2, 1, 1),
        torch.tensor([2, 2]),
        letters,
        frame_seconds=1.0,
        durations_seconds=[2.0, 2.0],
    )
    assert [hypothesis.text for hypothesis in hypotheses] == ["A", "A"]
    assert hypotheses[0] == hypotheses[1]


def test_empty_batch_in_time(letters: Tokenizer) -> None:
    hypotheses = greedy_decode(
        torch.zeros(2, 0, letters.vocab_size + 1),
        torch.tensor([0, 0]),
        letters,
        frame_seconds=0.04,
        durations_seconds=[0.0, 0.01],
    )
    assert [(item.text, item.score) for item in hypotheses] == [("", 0.0), ("", 0.0)]


def test_of_equal_labels_the_lowest_wins() -> None:
    path = best_path(torch.zeros(1, 2, 5), torch.tensor([2]))
    assert path.labels.tolist() == [[0, 0]]


def test_steps_are_the_whole() -> None:
    """Chunks with padding in the middle of a run, and a chunk without any real frame."""
    log_probs = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1)).log_softmax(2)
    log_probs[1, 3:6] = torch.tensor([0.1, 0.1, 0.6, 0.1, 0.1]).log()
    decoder = GreedyDecoder()
    whole = decoder.step(
        decoder.start(2, device=torch.device("cpu")), log_probs, torch.tensor([9, 9])
    )
    state = decoder.start(2, device=torch.device("cpu"))
    places = [0, 0]
    for lengths in ([4, 4], [3, 0], [2, 1], [0, 4]):
        chunk = torch.full((2, 4, 5), torch.nan)
        for item, length in enumerate(lengths):
            start = places[item]
            chunk[item, :length] = log_probs[item, start : start + length]
            places[item] += length
        state = decoder.step(state, chunk, torch.tensor(lengths))
    assert decoder.finish(state) == decoder.finish(whole)
    # The run of label 2 is one token, not two.
    [token] = [t for t in decoder.finish(state)[1].best.tokens if t.start_frame <= 3 < t.end_frame]
    assert (token.label, token.end_frame >= 6) == (2, True)


def slow_oracle(
    log_probs: Tensor, length: int, tokenizer: Tokenizer, duration: float
) -> Hypothesis:
    """Frame by frame in plain Python, without times."""
    best = []
    for time in range(length):
        row = log_probs[time].tolist()
        best.append((row.index(max(row)), max(row), time))
    words: list[list[tuple[int, list[tuple[int, float, int]]]]] = []
    for number, run in groupby(best, key=lambda frame: frame[0]):
        frames = list(run)
        if number == 0:
            continue
        if not words or tokenizer.pieces[number - 1].startswith("\u2581"):
            words.append([])
        words[-1].append((number, frames))
    made = []
    for word in words:
        text = tokenizer.decode([number for number, _ in word]).replace(" ", "")
        if text:
            made.append(
                Word(
                    word=text,
                    start_seconds=0.0,
                    end_seconds=0.0,
                    confidence=sum(math.exp(max(f[1] for f in run)) for _, run in word) / len(word),
                )
            )
    return Hypothesis(
        text=" ".join(word.word for word in made),
        score=sum(frame[1] for frame in best),
        words=tuple(made),
        duration_seconds=duration,
    )


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_slow_oracle(letters: Tokenizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vocab = letters.vocab_size + 1
    # Steps of three frames make repeats, a favoured blank and word start make words.
    logits = 2 * torch.randn(6, 40, vocab, generator=generator).repeat_interleave(3, dim=1)
    logits += torch.randn(6, 120, vocab, generator=generator)
    logits[:, :, 0] += 2
    logits[:, :, label(letters, "_")] += 2
    log_probs = logits.log_softmax(dim=2)
    lengths = torch.tensor([120, 1, 0, 77, 119, 50])
    durations = [4.8, 0.04, 0.01, 3.0, 4.8, 2.0]
    found = greedy_decode(
        log_probs, lengths, letters, frame_seconds=0.04, durations_seconds=durations
    )
    assert len(found[0].words) > 3
    for item, hypothesis in enumerate(found):
        length = int(lengths[item])
        expected = slow_oracle(log_probs[item], length, letters, durations[item])
        assert_close(hypothesis, expected)


def test_padding_changes_nothing(letters: Tokenizer) -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(1, 30, letters.vocab_size + 1, generator=generator).log_softmax(2)
    padded = torch.cat([log_probs, torch.full((1, 5, log_probs.shape[2]), torch.nan)], dim=1)
    alone = greedy_decode(
        log_probs, torch.tensor([30]), letters, frame_seconds=0.04, durations_seconds=[1.2]
    )
    batched = greedy_decode(
        padded, torch.tensor([30]), letters, frame_seconds=0.04, durations_seconds=[1.2]
    )
    assert alone == batched
