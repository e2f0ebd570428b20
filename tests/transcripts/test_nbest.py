import random
from collections.abc import Sequence

import pytest

from asr.transcripts.hypothesis import Alternative, Hypothesis, Word
from asr.transcripts.nbest import (
    RescoringWeights,
    add_scores,
    best_places,
    rank,
    score_fields,
    score_name,
)


def alternative(
    text: str, acoustic_score: float, tokens: int | None = None, **lm_scores: float
) -> Alternative:
    return Alternative(
        text=text,
        score=0.0,
        acoustic_score=acoustic_score,
        lm_scores=lm_scores,
        tokens=tokens,
    )


def weights(length_bonus: float = 0.0, **lm_weights: float) -> RescoringWeights:
    return RescoringWeights(lm_weights=lm_weights, length_bonus=length_bonus)


def test_best_by_hand() -> None:
    first = [
        alternative("A", -1.0, lm_score=-9.0),
        alternative("B", -2.0, lm_score=-4.0),
        alternative("C", -5.0, lm_score=-1.5),
    ]
    second = [alternative("A", -1.0, lm_score=-1.0)]
    tried = [weights(lm_score=weight) for weight in (0.0, 0.1, 0.3, 1.1, 1.3)]
    # -1, -2, -5; -1.9, -2.4, -5.15; -3.7, -3.2, -5.45; -, -6.4, -6.65; -, -7.2, -6.95
    assert best_places([first, second], tried).tolist() == [[0, 0, 1, 1, 2], [0, 0, 0, 0, 0]]


def test_length_counts_token_pieces_or_words() -> None:
    pieces = [alternative("AB", -1.0, tokens=2), alternative("A B C", -2.5, tokens=3)]
    words = [alternative("AB", -1.0), alternative("A B C", -2.5)]
    tried = [weights(1.0), weights(1.6)]
    assert best_places([pieces, words], tried).tolist() == [[0, 1], [1, 1]]


def test_many_language_models_equal_the_sum() -> None:
    generator = random.Random(0)
    nbests = [
        [
            alternative(
                "A",
                generator.gauss(-9, 2),
                tokens=generator.randrange(5),
                lm_score=generator.gauss(-9, 2),
                rescore=generator.gauss(-9, 2),
            )
            for _ in range(7)
        ]
        for _ in range(20)
    ]
    tried = [weights(0.5, lm_score=0.3, rescore=0.9), weights(-0.5, rescore=0.2, lm_score=0.7)]
    for nbest, places in zip(nbests, best_places(nbests, tried).tolist(), strict=True):
        for place, each in zip(places, tried, strict=True):
            scores = [
                item.acoustic_score
                + sum(each.lm_weights[name] * score for name, score in item.lm_scores.items())
                + each.length_bonus * (item.tokens or 0)
                for item in nbest
            ]
            assert place == scores.index(max(scores))


def test_of_equal_ones_the_first() -> None:
    equal = [alternative(text, -1.0, lm_score=-2.0) for text in "ABC"]
    assert best_places([equal], [weights(lm_score=0.7)]).tolist() == [[0]]


def test_missing_score() -> None:
    nbest = [alternative("A", -1.0, lm_score=-1.0, rescore=-1.0), alternative("B", -1.0, rescore=0)]
    with pytest.raises(ValueError, match=r"expected lm_score, rescore of .* one without lm_score;"):
        best_places([nbest], [weights(lm_score=1.0, rescore=1.0)])


def test_one_more_language_model_is_asked_once_for_each_text() -> None:
    asked: list[str] = []

    def log_probs(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return [-float(len(text)) for text in texts]

    nbests = [
        (alternative("A B", -1.0, lm_score=-3.0), alternative("A", -2.0, lm_score=-3.0)),
        (alternative("A", -3.0, lm_score=-4.0),),
    ]
    first, second = add_scores(nbests, log_probs, name="other")
    assert asked == ["A B", "A"]
    assert [each.lm_scores for each in (*first, *second)] == [
        {"lm_score": -3.0, "other_score": -3.0},
        {"lm_score": -3.0, "other_score": -1.0},
        {"lm_score": -4.0, "other_score": -1.0},
    ]


def test_rank_puts_the_best_on_top_and_keeps_the_times_of_the_same_text() -> None:
    word = Word(word="A", start_seconds=0.0, end_seconds=1.0, confidence=1.0)
    nbest = (alternative("A", -1.0, lm_score=-9.0), alternative("B", -2.0, lm_score=-4.0))
    before = Hypothesis(text="A", score=-1.0, words=(word,), duration_seconds=1.0, nbest=nbest)
    same = rank(before, nbest, weights(2.0, lm_score=0.1))
    assert (same.text, same.words) == ("A", (word,))
    # -1 - 0.9 + 2 * 1 word
    assert same.score == pytest.approx(0.1)
    other = rank(before, nbest, weights(lm_score=1.0))
    assert (other.text, other.words, other.score) == ("B", (), -6.0)
    assert [each.text for each in other.nbest] == ["B", "A"]
    assert [each.score for each in other.nbest] == [-6.0, -10.0]


def test_a_blank_penalty_counts_in_the_ranking() -> None:
    nbest = (
        Alternative(text="A", score=0.0, acoustic_score=-1.0, lm_scores={}),
        Alternative(
            text="B", score=0.0, acoustic_score=-4.0, blank_penalty_score=3.5, lm_scores={}
        ),
    )
    assert best_places([nbest], [weights()]).tolist() == [[1]]
    hypothesis = Hypothesis(text="A", score=0.0, words=(), duration_seconds=1.0)
    assert [item.score for item in rank(hypothesis, nbest, weights()).nbest] == [-0.5, -1.0]


def test_rank_weighs_the_acoustic_score() -> None:
    nbest = (alternative("A", -1.0, lm_score=-3.0), alternative("B", -2.0, lm_score=-1.0))
    before = Hypothesis(text="A", score=-1.0, words=(), duration_seconds=1.0, nbest=nbest)
    heavy = RescoringWeights(lm_weights={"lm_score": 1.0}, length_bonus=0.5, acoustic_weight=3.0)
    # 3 * -1 - 3 + 0.5 and 3 * -2 - 1 + 0.5
    assert [each.score for each in rank(before, nbest, heavy).nbest] == [-5.5, -6.5]
    assert best_places([nbest], [heavy]).tolist() == [[0]]
    # -1 - 3 + 0.5 and -2 - 1 + 0.5
    light = RescoringWeights(lm_weights={"lm_score": 1.0}, length_bonus=0.5)
    assert rank(before, nbest, light).text == "B"


def test_scores_of_lists() -> None:
    searched = [alternative("A", -1.0, lm_score=-1.0, other_score=0.0)]
    plain = [alternative("A", -1.0, lm_score=0.0, other_score=0.0)]
    assert score_fields([searched, plain]) == ["lm_score", "other_score"]
    # A search without a language model gives 0 throughout; any other score is one, whatever it is.
    assert score_fields([plain]) == ["other_score"]
    assert [score_name(each) for each in ("lm_score", "rescore")] == ["lm", "rescore"]
