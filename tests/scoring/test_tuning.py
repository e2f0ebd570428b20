import random
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest

from asr.data.manifest import Utterance
from asr.scoring.counts import count_errors
from asr.scoring.tuning import tune
from asr.transcripts.hypothesis import Alternative, Hypothesis


def reference(name: str, text: str) -> Utterance:
    return Utterance(id=name, audio_filepath=Path(f"{name}.wav"), duration_seconds=1.0, text=text)


def alternative(
    text: str, acoustic_score: float, *, tokens: int | None = 2, **lm_scores: float
) -> Alternative:
    return Alternative(
        text=text,
        score=0.0,
        acoustic_score=acoustic_score,
        lm_scores=lm_scores,
        tokens=tokens,
    )


def hypothesis(*nbest: Alternative, text: str | None = None) -> Hypothesis:
    text = nbest[0].text if text is None else text
    return Hypothesis(text=text, score=0.0, words=(), duration_seconds=1.0, nbest=nbest)


REFERENCES = [reference(name, "RIGHT WORD") for name in "abcd"]
# Each list has the right text where a weight or the bonus is on one side of a bound.
NBESTS = {
    "a": hypothesis(  # lm_weight above 0.5
        alternative("WRONG WORD", -1.0, lm_score=-4.0),
        alternative("RIGHT WORD", -2.0, lm_score=-2.0),
    ),
    "b": hypothesis(  # lm_weight below 0.9
        alternative("RIGHT WORD", -1.0, lm_score=-4.0),
        alternative("WRONG WORD", -2.8, lm_score=-2.0),
    ),
    "c": hypothesis(  # length_bonus above 0.35
        alternative("WORD", -1.0, tokens=2, lm_score=-2.0),
        alternative("RIGHT WORD", -1.35, tokens=3, lm_score=-2.0),
    ),
    "d": hypothesis(  # length_bonus below 1.15
        alternative("RIGHT WORD", -1.0, tokens=2, lm_score=-2.0),
        alternative("RIGHT WORD WORD", -2.15, tokens=3, lm_score=-2.0),
    ),
}


def test_known_optimum() -> None:
    tuning = tune(REFERENCES, NBESTS)
    assert (tuning.utterances, tuning.length_unit) == (4, "token")
    assert tuning.decoded.counts.errors == 2
    best, *others = tuning.best
    assert best.words.counts.errors == 0
    assert best.words.counts.reference_length == 8
    # Of the first grid 0.6 and 0.8, 0.5 and 1.0 are without errors; the first of these is taken.
    # Around it 0.52, 0.56, .. 0.76 and 0.4, 0.5, .. 0.9 are. The middle of all 45 points is 0.646
    # and 0.662.
    assert best.weights.lm_weights == {"lm_score": 0.64}
    assert best.weights.length_bonus == 0.7
    assert [item.words.counts.errors for item in others] == [1, 2]
    # No interval where every utterance is right.
    assert best.words.interval.low is None
    assert others[0].words.interval.high is not None


def test_result_does_not_depend_on_the_order_of_hypotheses() -> None:
    assert tune(REFERENCES, dict(reversed(NBESTS.items()))) == tune(REFERENCES, NBESTS)


def test_words_where_the_search_counts_words() -> None:
    def of_words(*texts: str) -> Hypothesis:
        return hypothesis(*(alternative(text, -1.0, tokens=None, lm_score=-1.0) for text in texts))

    references = [reference("a", "A B C"), reference("b", "A B")]
    tuning = tune(references, {"a": of_words("A B", "A B C"), "b": of_words("A", "A B")})
    assert tuning.length_unit == "word"
    assert tuning.decoded.counts.errors == 2
    assert tuning.best[0].words.counts.errors == 0
    assert tuning.best[0].weights.length_bonus > 0


def random_lists(count: int) -> tuple[list[Utterance], dict[str, Hypothesis]]:
    generator = random.Random(1)
    references, nbests = [], {}
    for number in range(count):
        said = [generator.choice("ABC") for _ in range(6)]
        items = []
        for _ in range(5):
            found = [word if generator.random() < 0.7 else "D" for word in said]
            errors = found.count("D")
            scores = [-errors * weight + generator.gauss(0, 2) for weight in (1.0, 0.6, 0.4)]
            items.append(
                alternative(
                    " ".join(found),
                    scores[0],
                    tokens=generator.randrange(4, 8),
                    lm_score=scores[1],
                    rescore=scores[2],
                )
            )
        references.append(reference(str(number), " ".join(said)))
        nbests[str(number)] = hypothesis(*items)
    return references, nbests


def brute_force_errors(
    references: Sequence[Utterance],
    nbests: Mapping[str, Hypothesis],
    weights: Mapping[str, float],
    bonus: float,
) -> int:
    total = 0
    for utterance in references:
        best = max(
            nbests[utterance.id].nbest,
            key=lambda item: (
                item.acoustic_score
                + sum(weights[name] * score for name, score in item.lm_scores.items())
                + bonus * item.length
            ),
        )
        total += count_errors(utterance.text or "", best.text, unit="word").errors
    return total


def test_no_point_of_the_first_grid_is_better() -> None:
    references, nbests = random_lists(30)
    tuning = tune(references, nbests)
    for found in tuning.best:
        weights = found.weights
        assert weights.lm_weights.keys() == {"lm_score", "rescore"}
        assert found.words.counts.errors == brute_force_errors(
            references, nbests, weights.lm_weights, weights.length_bonus
        )
    errors = [found.words.counts.errors for found in tuning.best]
    assert errors == sorted(set(errors))
    tried = (0.0, 0.4, 1.0, 1.6)
    for lm_weight, rescore, bonus in product(tried, tried, (-1.0, 0.0, 1.0)):
        point = {"lm_score": lm_weight, "rescore": rescore}
        assert errors[0] <= brute_force_errors(references, nbests, point, bonus)
    assert errors[0] < tuning.decoded.counts.errors


def test_a_score_that_is_zero_throughout_is_no_language_models() -> None:
    lists = {
        name: hypothesis(
            *(
                Alternative(
                    text=item.text,
                    score=0.0,
                    acoustic_score=item.acoustic_score,
                    lm_scores={"lm_score": 0.0, "rescore": item.lm_scores["lm_score"]},
                    tokens=item.tokens,
                )
                for item in one.nbest
            )
        )
        for name, one in NBESTS.items()
    }
    assert tune(REFERENCES, lists).best[0].weights.lm_weights == {"rescore": 0.64}


def test_no_language_model() -> None:
    nbests = {"a": hypothesis(alternative("X", -1.0, lm_score=0.0), alternative("Y", -2.0))}
    with pytest.raises(ValueError, match="with scores of a language model or another recogniser"):
        tune([reference("a", "X")], nbests)


@pytest.mark.parametrize("lists", [{}, {"d": hypothesis(text="RIGHT WORD")}])
def test_missing_list(lists: dict[str, Hypothesis]) -> None:
    nbests = {name: item for name, item in NBESTS.items() if name != "d"} | lists
    with pytest.raises(ValueError, match=r"expected an n-best list of every .* none of 1: d; deco"):
        tune(REFERENCES, nbests)


def test_list_without_reference() -> None:
    with pytest.raises(ValueError, match=r"n-best lists for the same 3 .* without reference, 1: d"):
        tune(REFERENCES[:3], NBESTS)


def test_reference_without_transcript() -> None:
    silent = Utterance(id="a", audio_filepath=Path("a.wav"), duration_seconds=1.0)
    with pytest.raises(ValueError, match="expected a transcript for every utterance"):
        tune([silent], NBESTS)


def test_lists_of_two_ways_to_decode() -> None:
    mixed = {**NBESTS, "d": hypothesis(alternative("X", -1.0, tokens=None, lm_score=-1.0))}
    with pytest.raises(ValueError, match="some of token pieces and some of words"):
        tune(REFERENCES, mixed)


def test_score_that_some_lack() -> None:
    lacking = {**NBESTS, "d": hypothesis(alternative("X", -1.0, rescore=-1.0))}
    with pytest.raises(ValueError, match="expected lm_score, rescore of every transcript"):
        tune(REFERENCES, lacking)
