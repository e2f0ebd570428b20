import random

import pytest

from asr.scoring.counts import (
    ErrorCounts,
    Unit,
    align_words,
    align_words_batch,
    count_errors,
    count_errors_batch,
    pool,
)


def counts(substitutions: int, deletions: int, insertions: int, length: int) -> ErrorCounts:
    return ErrorCounts(
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        reference_length=length,
    )


UNITS: tuple[Unit, ...] = ("word", "character")

# Counted by hand; each of them has one best division into the three kinds.
WORD_CASES = [
    ("THE CAT SAT", "THE CAT SAT", (0, 0, 0, 3)),
    ("THE CAT SAT", "THE DOG SAT", (1, 0, 0, 3)),
    ("THE CAT SAT", "THE SAT", (0, 1, 0, 3)),
    ("THE CAT SAT", "THE BIG CAT SAT", (0, 0, 1, 3)),
    ("A B C D E F G H", "A X C D F G H I", (1, 1, 1, 8)),
    ("A", "B C D E", (1, 0, 3, 1)),
    ("A B C", "", (0, 3, 0, 3)),
    ("", "A B", (0, 0, 2, 0)),
    ("", "", (0, 0, 0, 0)),
    ("It\u2019s twenty-one, sir!", "it's TWENTY ONE sir", (0, 0, 0, 4)),
    ("...", "hm", (0, 0, 1, 0)),
]
CHARACTER_CASES = [
    ("THE CAT", "THE CAT", (0, 0, 0, 7)),
    ("THE CAT", "THE CUT", (1, 0, 0, 7)),
    ("THE CAT", "THECAT", (0, 1, 0, 7)),
    ("THE CAT", "THE CATS", (0, 0, 1, 7)),
    ("AB", "", (0, 2, 0, 2)),
    ("", "A B", (0, 0, 3, 0)),
    ("", "", (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), WORD_CASES)
def test_word_errors_counted_by_hand(
    reference: str, hypothesis: str, expected: tuple[int, int, int, int]
) -> None:
    assert count_errors(reference, hypothesis, unit="word") == counts(*expected)


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), CHARACTER_CASES)
def test_character_errors_counted_by_hand(
    reference: str, hypothesis: str, expected: tuple[int, int, int, int]
) -> None:
    assert count_errors(reference, hypothesis, unit="character") == counts(*expected)


def test_a_batch_gives_each_pair_its_own_counts() -> None:
    references = [reference for reference, _, _ in WORD_CASES]
    hypotheses = [hypothesis for _, hypothesis, _ in WORD_CASES]
    assert count_errors_batch(references, hypotheses, unit="word") == [
        counts(*expected) for _, _, expected in WORD_CASES
    ]
    assert count_errors_batch([], [], unit="word") == []


def test_a_batch_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="found 1 hypotheses for 2 references"):
        count_errors_batch(["A", "B"], ["A"], unit="word")


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    previous = list(range(len(hypothesis) + 1))
    for row, said in enumerate(reference, start=1):
        current = [row]
        for column, recognised in enumerate(hypothesis, start=1):
            current.append(
                min(
                    previous[column - 1] + (said != recognised),
                    previous[column] + 1,
                    current[column - 1] + 1,
                )
            )
        previous = current
    return previous[-1]


def test_random_pairs_agree_with_an_edit_distance_of_our_own() -> None:
    generator = random.Random(7)
    sentences = [
        [generator.choice(["A", "B", "CC", "AB"]) for _ in range(generator.randrange(9))]
        for _ in range(400)
    ]
    references, hypotheses = sentences[::2], sentences[1::2]
    lines = [[" ".join(words) for words in side] for side in (references, hypotheses)]
    for unit in UNITS:
        found = count_errors_batch(lines[0], lines[1], unit=unit)
        for count, said, recognised in zip(found, *lines, strict=True):
            left, right = (
                (said.split(), recognised.split())
                if unit == "word"
                else (list(said), list(recognised))
            )
            assert count.errors == edit_distance(left, right)
            assert count.reference_length == len(left)
            assert len(left) - count.deletions + count.insertions == len(right)
            assert min(count.substitutions, count.deletions, count.insertions) >= 0


def test_the_alignment_has_the_counted_errors_and_both_sentences() -> None:
    for reference, hypothesis in [
        ("A B C D E F G H", "A X C D F G H I"),
        ("A B C", "X Y"),
        ("", "A"),
        ("A", ""),
        ("", ""),
    ]:
        pairs = align_words(reference, hypothesis)
        assert [pair.reference for pair in pairs if pair.reference is not None] == reference.split()
        assert [
            pair.hypothesis for pair in pairs if pair.hypothesis is not None
        ] == hypothesis.split()
        count = count_errors(reference, hypothesis, unit="word")
        kinds = [pair.error for pair in pairs]
        assert kinds.count("S") == count.substitutions
        assert kinds.count("D") == count.deletions
        assert kinds.count("I") == count.insertions


def test_many_are_aligned_as_each_alone() -> None:
    references, hypotheses = ["A B C", "", "D"], ["A X", "Y", "D"]
    found = align_words_batch(references, hypotheses)
    assert found == [align_words(*both) for both in zip(references, hypotheses, strict=True)]
    assert [[pair.error for pair in pairs] for pairs in found] == [["", "S", "D"], ["I"], [""]]
    assert align_words_batch([], []) == []


def test_rate_and_the_rule_for_empty_references() -> None:
    assert counts(1, 1, 1, 6).rate == 0.5
    assert counts(1, 0, 3, 1).rate == 4.0
    assert counts(0, 0, 0, 0).rate == 0.0
    assert counts(0, 0, 2, 0).rate is None
    # Pooled, the words inserted into the empty reference count in full: 3 errors in 6 words.
    assert pool([counts(1, 0, 0, 6), counts(0, 0, 2, 0)]).rate == 0.5
    assert pool([]) == counts(0, 0, 0, 0)


def test_addition_adds_every_field() -> None:
    assert counts(1, 2, 3, 10) + counts(10, 20, 30, 100) == counts(11, 22, 33, 110)
    assert (counts(1, 2, 3, 10) + counts(0, 0, 1, 4)).errors == 7
