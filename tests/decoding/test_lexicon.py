import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.decoding.lexicon import LexiconConfig, LexiconDecoder, ScoredHypothesis
from asr.decoding.lexicon_words import LexiconWord
from asr.schema import parse

# log10 probability and back-off weight of each word; log10 probability of each pair.
UNIGRAMS = {
    "<unk>": (-2.0, 0.0),
    "<s>": (-99.0, -0.35),
    "</s>": (-0.7, 0.0),
    "a": (-0.5, -0.2),
    "ab": (-0.9, -0.1),
    "abb": (-1.3, -0.3),
    "ba": (-1.1, -0.4),
    "c": (-0.8, -0.25),
}
BIGRAMS = {
    ("<s>", "ab"): -0.2,
    ("<s>", "c"): -1.5,
    ("a", "ba"): -0.3,
    ("ab", "a"): -0.6,
    ("a", "</s>"): -1.2,
    ("ba", "</s>"): -0.1,
    ("c", "c"): -2.0,
}
# AB and C sound alike, BA has two spellings, and A is both a word and the beginning of others.
WORDS = [
    LexiconWord(text="A", lm_word="a", spellings=((1,),)),
    LexiconWord(text="AB", lm_word="ab", spellings=((1, 2),)),
    LexiconWord(text="ABB", lm_word="abb", spellings=((1, 2, 2),)),
    LexiconWord(text="BA", lm_word="ba", spellings=((2, 1), (3,))),
    LexiconWord(text="C", lm_word="c", spellings=((1, 2),)),
]
VOCAB_SIZE = 3
WIDE = {"beam_size": 100_000, "candidate_labels": 100, "beam_threshold": 1000.0}


def arpa_text() -> str:
    lines = ["\\data\\", f"ngram 1={len(UNIGRAMS)}", f"ngram 2={len(BIGRAMS)}", "", "\\1-grams:"]
    lines += [f"{prob}\t{word}\t{backoff}" for word, (prob, backoff) in UNIGRAMS.items()]
    lines += ["", "\\2-grams:"]
    lines += [f"{prob}\t{first} {second}" for (first, second), prob in BIGRAMS.items()]
    return "\n".join([*lines, "", "\\end\\", ""])


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text(arpa_text(), encoding="utf-8")
    return path


def decoder(arpa: Path, **settings: float) -> LexiconDecoder:
    config = parse(LexiconConfig, settings, where="")
    return LexiconDecoder(WORDS, arpa, vocab_size=VOCAB_SIZE, config=config)


def random_log_probs(frames: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, VOCAB_SIZE + 1, generator=generator)).log_softmax(dim=1)


def lm_log_probability(words: Sequence[str]) -> float:
    total = 0.0
    previous = "<s>"
    for word in [*words, "</s>"]:
        if (previous, word) in BIGRAMS:
            total += BIGRAMS[previous, word]
        else:
            total += UNIGRAMS[previous][1] + UNIGRAMS[word][0]
        previous = word
    return math.log(10) * total


def sentences(labels: tuple[int, ...]) -> Iterator[tuple[LexiconWord, ...]]:
    """Every way to read a label sequence as words."""
    if not labels:
        yield ()
    for word in WORDS:
        for spelling in word.spellings:
            if labels[: len(spelling)] == spelling:
                for rest in sentences(labels[len(spelling) :]):
                    yield (word, *rest)


def brute_force(
    log_probs: Tensor, *, lm_weight: float, word_score: float
) -> dict[str, tuple[float, float, float]]:
    """Score, acoustic and language model score of every sentence: the sum over all alignments."""
    rows = log_probs.tolist()
    probabilities: dict[tuple[LexiconWord, ...], float] = defaultdict(float)
    for path in product(range(VOCAB_SIZE + 1), repeat=len(rows)):
        probability = math.exp(sum(row[label] for row, label in zip(rows, path, strict=True)))
        for words in sentences(tuple(label for label, _ in groupby(path) if label != 0)):
            probabilities[words] += probability
    scores = {}
    for words, probability in probabilities.items():
        acoustic = math.log(probability)
        lm = lm_log_probability([word.lm_word for word in words])
        score = acoustic + lm_weight * lm + word_score * len(words)
        scores[" ".join(word.text for word in words)] = (score, acoustic, lm)
    return scores


def nbest(decoder: LexiconDecoder, log_probs: Tensor, count: int) -> list[ScoredHypothesis]:
    return decoder.nbest(
        log_probs, count=count, frame_seconds=0.04, duration_seconds=0.04 * len(log_probs)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("lm_weight", "word_score"), [(0.7, 0.4), (1.5, -1.0), (0.0, 0.0)])
def test_equals_a_sum_over_all_alignments_of_all_sentences(
    arpa: Path, seed: int, lm_weight: float, word_score: float
) -> None:
    log_probs = random_log_probs(6, seed)
    expected = brute_force(log_probs, lm_weight=lm_weight, word_score=word_score)
    found = nbest(
        decoder(arpa, lm_weight=lm_weight, word_score=word_score, **WIDE), log_probs, 10_000
    )
    assert len(expected) > 100
    assert {item.hypothesis.text for item in found} == expected.keys()
    for item in found:
        score, acoustic, lm = expected[item.hypothesis.text]
        assert item.hypothesis.score == pytest.approx(score, abs=1e-4)
        assert item.acoustic_score == pytest.approx(acoustic, abs=1e-4)
        assert item.lm_score == pytest.approx(lm, abs=1e-4)
    scores = [item.hypothesis.score for item in found]
    assert scores == sorted(scores, reverse=True)


def test_narrow_beam_finds_the_clear_sentence(arpa: Path) -> None:
    log_probs = peaky([1, 2, 2, 0, 2, 0, 3, 3, 0, 1])
    hypothesis = nbest(decoder(arpa, beam_size=8, candidate_labels=3), log_probs, 1)[0].hypothesis
    assert hypothesis.text == "ABB BA A"


def peaky(labels: list[int], probability: float = 0.97) -> Tensor:
    rest = (1 - probability) / VOCAB_SIZE
    probabilities = torch.full((len(labels), VOCAB_SIZE + 1), rest, dtype=torch.float64)
    probabilities[torch.arange(len(labels)), torch.tensor(labels)] = probability
    return probabilities.log()


def test_times_and_confidence_by_hand(arpa: Path) -> None:
    # Words that end in a token of several frames, follow each other without a blank, and repeat.
    labels = [0, 1, 1, 0, 2, 2, 2, 3, 3, 0, 0, 1, 0]
    log_probs = peaky(labels)
    log_probs[5] = torch.tensor([0.05, 0.05, 0.85, 0.05]).log()
    log_probs[11] = torch.tensor([0.2, 0.6, 0.1, 0.1]).log()
    [hypothesis] = decoder(arpa, lm_weight=0.1).decode(
        log_probs.unsqueeze(0),
        torch.tensor([len(labels)]),
        frame_seconds=0.04,
        durations_seconds=[0.47],
    )
    assert hypothesis.text == "AB BA A"
    assert [word.word for word in hypothesis.words] == ["AB", "BA", "A"]
    starts = [word.start_seconds for word in hypothesis.words]
    ends = [word.end_seconds for word in hypothesis.words]
    assert starts == pytest.approx([0.04, 0.28, 0.44])
    assert ends == pytest.approx([0.28, 0.36, 0.47])
    confidence = [word.confidence for word in hypothesis.words]
    assert confidence == pytest.approx([0.97, 0.97, 0.6], abs=1e-4)
    assert hypothesis.duration_seconds == 0.47


def test_batch_and_padding_change_nothing(arpa: Path) -> None:
    lengths = [7, 0, 4]
    log_probs = torch.full((3, 7, VOCAB_SIZE + 1), math.nan)
    for item, length in enumerate(lengths):
        log_probs[item, :length] = random_log_probs(length, seed=item)
    search = decoder(arpa)
    found = search.decode(
        log_probs, torch.tensor(lengths), frame_seconds=0.04, durations_seconds=[1.0, 0.01, 0.5]
    )
    for item, (length, seconds) in enumerate(zip(lengths, [1.0, 0.01, 0.5], strict=True)):
        [alone] = search.decode(
            log_probs[item : item + 1, :length],
            torch.tensor([length]),
            frame_seconds=0.04,
            durations_seconds=[seconds],
        )
        assert found[item] == alone
    assert (found[1].text, found[1].score, found[1].words) == ("", 0.0, ())


def test_long_recording_is_cut_in_pauses(arpa: Path) -> None:
    stretches = [[0, 1, 0, 2, 1, 0, 0], [0, 0, 0, 3, 3, 0, 1, 0], [0, 1, 2, 0]]
    search = decoder(arpa, limit_seconds=0.4)
    [found] = search.decode(
        peaky([*chain.from_iterable(stretches)]).unsqueeze(0),
        torch.tensor([19]),
        frame_seconds=0.04,
        durations_seconds=[0.75],
    )
    parts = [nbest(search, peaky(labels), 1)[0].hypothesis for labels in stretches]
    assert found.text == "A BA BA A AB"
    assert found.text == " ".join(part.text for part in parts)
    assert found.score == pytest.approx(sum(part.score for part in parts))
    assert found.duration_seconds == 0.75
    times = [(word.start_seconds, word.end_seconds) for word in found.words]
    assert times == [
        pytest.approx((0.04 * start, 0.04 * end))
        for start, end in [(1, 2), (3, 5), (10, 12), (13, 14), (16, 18)]
    ]


def test_unfinished_word_is_left_out(arpa: Path) -> None:
    # A narrow beam follows the second label, which is no word, to the end.
    found = nbest(decoder(arpa, beam_threshold=1.0, lm_weight=0.0), peaky([3, 0, 2], 0.9999), 5)
    assert [item.hypothesis.text for item in found] == ["BA"]
    assert found[0].hypothesis.words[0].end_seconds == pytest.approx(0.04)


def test_other_number_of_labels(arpa: Path) -> None:
    with pytest.raises(ValueError, match="expected log_probs of 4 labels, found 6"):
        nbest(decoder(arpa), torch.zeros(2, 6), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"candidate_labels": 0}, "candidate_labels"),
        ({"beam_threshold": 0.0}, "beam_threshold"),
        ({"lm_weight": -0.1}, "lm_weight"),
        ({"word_score": math.nan}, "word_score"),
        ({"limit_seconds": 0.0}, "limit_seconds"),
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
    with pytest.raises(FileNotFoundError, match=r"run: pip install 'attune-asr\[lm\]'"):
        decoder(arpa)
