from itertools import groupby

import pytest
import torch

from asr.ctc.greedy import token_runs
from asr.tokens.tokenizer import Tokenizer, train_tokenizer
from asr.transcripts.hypothesis import Alternative, Word
from asr.transcripts.tokens import Decoded, SpelledWord, Token, TokenSequence
from asr.transcripts.word_times import find_words, group_words, to_hypothesis


def tokens_of(tokenizer: Tokenizer, *spans: tuple[str, int, int]) -> list[Token]:
    """Tokens (piece, start, end) with posterior 0.5."""
    return [
        Token(
            label=tokenizer.pieces.index(piece.replace("_", "\u2581")) + 1,
            start_frame=start,
            end_frame=end,
            posterior=0.5,
        )
        for piece, start, end in spans
    ]


def words_of(
    tokenizer: Tokenizer, *spans: tuple[str, int, int], duration: float = 100.0, offset: float = 0.0
) -> tuple[Word, ...]:
    return find_words(
        group_words(tokens_of(tokenizer, *spans), tokenizer),
        tokenizer,
        frame_seconds=1.0,
        frame_offset_seconds=offset,
        duration_seconds=duration,
    )


def times_of(words: tuple[Word, ...]) -> list[tuple[float, float]]:
    return [(word.start_seconds, word.end_seconds) for word in words]


@pytest.fixture(scope="module")
def mixed() -> Tokenizer:
    """Pieces that are whole words, the mark alone, and letters."""
    texts = ["the a t", "the e h", "the the", "the th", "t h e a"] * 20
    tokenizer = train_tokenizer(texts, vocab_size=8, kind="unigram")
    assert {"\u2581THE", "\u2581", "A", "T"} <= set(tokenizer.pieces)
    return tokenizer


def test_no_tokens_no_words(letters: Tokenizer) -> None:
    assert words_of(letters) == ()


def test_one_word_has_no_pace(mixed: Tokenizer) -> None:
    words = words_of(mixed, ("_THE", 3, 5))
    assert words == (Word(word="THE", start_seconds=3.0, end_seconds=5.0, confidence=0.5),)


def test_a_lone_mark_begins_its_word_in_its_middle(letters: Tokenizer) -> None:
    assert times_of(words_of(letters, ("_", 2, 6), ("A", 8, 9))) == [(4.0, 9.0)]


def test_a_mark_without_letters_is_part_of_the_gap(letters: Tokenizer) -> None:
    words = words_of(letters, ("_", 0, 1), ("_", 4, 5), ("A", 5, 6), ("_", 8, 9))
    assert times_of(words) == [(4.5, 6.0)]


def test_the_offset_shifts_every_frame(letters: Tokenizer) -> None:
    assert times_of(words_of(letters, ("A", 2, 4), offset=0.5)) == [(2.5, 4.5)]


def test_no_time_is_after_the_audio(letters: Tokenizer) -> None:
    assert times_of(words_of(letters, ("A", 2, 4), offset=0.5, duration=3.0)) == [(2.5, 3.0)]
    assert times_of(words_of(letters, ("A", 2, 4), offset=0.5, duration=1.0)) == [(1.0, 1.0)]


def test_close_words_share_the_gap_by_what_they_lack(mixed: Tokenizer) -> None:
    # Starts every 9 frames, 3 letters: pace 3. Each THE has 1 frame and lacks 8, and has gaps of 8
    # on both sides, each shared by two that lack 8: 4 frames from each side, together all 8.
    words = words_of(mixed, ("_THE", 9, 10), ("_THE", 18, 19), ("_THE", 27, 28), duration=32.0)
    # The first has 9 frames before it, more than it lacks, and half of the gap after it. Together
    # 1.5 times what it lacks, so that each is a third less. The last has 4 and 4.
    first = 8 / 1.5
    assert times_of(words) == [
        pytest.approx((9 - first, 10 + first / 2)),
        pytest.approx((14.0, 23.0)),
        pytest.approx((23.0, 32.0)),
    ]


def test_a_spelled_word_leaves_the_gap_to_a_word_piece(mixed: Tokenizer) -> None:
    # To the next start, per letter: 4, 4, 12, 2 / 3 and 4. At the pace of 4 each A lacks nothing,
    # and THE 10 of 12 frames; the gap of 8 before it is its own.
    spans = [("_", start, start) for start in (0, 4, 8, 22, 26)]
    spans += [("A", start, start + 4) for start in (0, 4, 8, 22, 26)]
    spans = sorted([*spans, ("_THE", 20, 22)], key=lambda span: span[1])
    words = words_of(mixed, *spans, duration=30.0)
    assert [word.word for word in words] == ["A", "A", "A", "THE", "A", "A"]
    assert times_of(words) == [
        pytest.approx((start, end))
        for start, end in [(0, 4), (4, 8), (8, 12), (12, 22), (22, 26), (26, 30)]
    ]


def test_a_pause_stays_a_pause(letters: Tokenizer) -> None:
    spans = [("_", 0, 0), ("A", 0, 2), ("_", 2, 2), ("O", 2, 4), ("_", 4, 4), ("X", 4, 5)]
    spans += [("_", 60, 60), ("A", 60, 62), ("_", 62, 62), ("O", 62, 64)]
    # The median pace is 2 frames a letter; X lacks one of them, and gets it from the pause.
    words = words_of(letters, *spans)
    assert times_of(words) == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (60.0, 62.0), (62.0, 64.0)]


@pytest.mark.parametrize("seed", range(20))
def test_times_hold_the_tokens_and_never_overlap(letters: Tokenizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vocab = letters.vocab_size + 1
    weights = torch.ones(vocab)
    weights[0], weights[letters.pieces.index("\u2581") + 1] = 6.0, 4.0
    path = torch.multinomial(weights, 200, replacement=True, generator=generator).unsqueeze(0)
    [tokens] = token_runs(path, torch.zeros(1, 200, dtype=torch.float64))
    words = find_words(
        group_words(tokens, letters),
        letters,
        frame_seconds=0.04,
        frame_offset_seconds=0.0225,
        duration_seconds=8.01,
    )
    assert len(words) > 5
    times = [time for pair in times_of(words) for time in pair]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 8.01
    for token in tokens:
        if letters.decode([token.label]):
            start = 0.0225 + 0.04 * token.start_frame
            end = min(0.0225 + 0.04 * token.end_frame, 8.01)
            assert any(
                word.start_seconds <= start + 1e-9 and end - 1e-9 <= word.end_seconds
                for word in words
            )


def test_alternatives_keep_their_texts_and_scores(letters: Tokenizer) -> None:
    spans = [("_", 0, 1), ("A", 2, 3), ("_", 5, 6), ("O", 7, 8)]
    others = [("_", 0, 1), ("_", 5, 6), ("O", 7, 8), ("X", 8, 9)]
    best, other = (
        TokenSequence(
            tokens=tuple(tokens_of(letters, *items)),
            score=score,
            acoustic_score=-3.0,
            lm_score=-4.0,
        )
        for items, score in ((spans, -1.0), (others, -2.0))
    )
    found = to_hypothesis(
        Decoded(best=best, nbest=(best, other)),
        letters,
        frame_seconds=1.0,
        frame_offset_seconds=0.25,
        duration_seconds=8.0,
    )
    assert (found.text, found.score, found.duration_seconds) == ("A O", -1.0, 8.0)
    assert found.words == words_of(letters, *spans, duration=8.0, offset=0.25)
    assert found.nbest == (
        Alternative(
            text="A O", score=-1.0, acoustic_score=-3.0, lm_scores={"lm_score": -4.0}, tokens=4
        ),
        Alternative(
            text="OX", score=-2.0, acoustic_score=-3.0, lm_scores={"lm_score": -4.0}, tokens=4
        ),
    )


def test_words_of_a_decoder_that_finds_words(letters: Tokenizer) -> None:
    # Spelled without the mark that begins a word, and otherwise than written.
    spans = [("A", 0, 1), ("O", 2, 3), ("X", 5, 9)]
    one, two, three = tokens_of(letters, *spans)
    found_words = (
        SpelledWord(text="EAU", tokens=(one, two)),
        SpelledWord(text="OX", tokens=(three,)),
    )
    best = TokenSequence(
        tokens=(one, two, three), score=-1.0, acoustic_score=-2.0, lm_score=-3.0, words=found_words
    )
    found = to_hypothesis(
        Decoded(best=best, nbest=(best,)),
        letters,
        frame_seconds=1.0,
        frame_offset_seconds=0.0,
        duration_seconds=9.0,
    )
    assert found.text == "EAU OX"
    assert [word.word for word in found.words] == ["EAU", "OX"]
    # The pace is 5 s for 3 letters: the first word lacks 2 s, the second nothing.
    assert times_of(found.words) == [(0.0, pytest.approx(5.0)), (5.0, 9.0)]
    assert [word.confidence for word in found.words] == [0.5, 0.5]
    [alternative] = found.nbest
    assert (alternative.text, alternative.tokens, alternative.length) == ("EAU OX", None, 2)


@pytest.mark.parametrize("seed", range(5))
def test_runs_equal_those_of_groupby(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (4, 30), generator=generator)
    log_probs = -torch.rand(4, 30, dtype=torch.float64, generator=generator)
    found = token_runs(labels, log_probs)
    for item, tokens in enumerate(found):
        expected: list[tuple[int, int, int, object]] = []
        for label, run in groupby(range(30), key=labels[item].tolist().__getitem__):
            frames = list(run)
            if label != 0:
                best = log_probs[item, frames].max().exp().item()
                expected.append((label, frames[0], frames[-1] + 1, pytest.approx(best)))
        assert [
            (token.label, token.start_frame, token.end_frame, token.posterior) for token in tokens
        ] == expected


def test_no_frames_no_runs() -> None:
    nothing = torch.zeros(2, 0)
    assert token_runs(nothing.long(), nothing.double()) == [[], []]
