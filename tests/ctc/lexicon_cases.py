"""A small lexicon and language model, and all their sentences by brute force."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, product

import torch
from torch import Tensor

from asr.ctc.lexicon import LexiconWord

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
