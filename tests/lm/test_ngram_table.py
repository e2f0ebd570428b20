import logging
from pathlib import Path

import kenlm
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.lm.arpa import NgramModel, NgramOrder, read_arpa, write_arpa
from asr.lm.estimate import estimate
from asr.lm.ngram_table import NgramState, NgramTable

# 2-grams such as "a b" are missing, although the 3-gram "b a b" ends in it, as in pruned models.
PRUNED = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-0.9\tb\t-0.3
-99\t<s>\t-0.4
-0.7\t</s>
-0.5\ta\t-0.2
-2.0\t<unk>

\\2-grams:
-0.2\tb a\t-0.6
-0.3\t<s> b\t-0.1
-0.4\ta a\t0.05
-0.6\ta </s>

\\3-grams:
-0.15\tb a b
-0.25\t<s> b a

\\end\\
"""


@pytest.fixture(scope="module", params=[2, 3, 5])
def model(
    request: pytest.FixtureRequest, sentences: list[NDArray[np.int32]], pieces: list[str]
) -> NgramModel:
    logging.disable(logging.WARNING)
    orders = estimate(sentences, vocab_size=len(pieces), order=request.param)
    logging.disable(logging.NOTSET)
    return NgramModel(words=["<s>", *pieces, "</s>"], orders=orders)


def random_labels(hypotheses: int, steps: int, vocab_size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(1, vocab_size + 1, (hypotheses, steps), generator=generator)


def advance_all(table: NgramTable, labels: torch.Tensor) -> NgramState:
    state = table.start(len(labels))
    for step in range(labels.shape[1]):
        state = table.advance(state, labels[:, step])
    return state


def walk(model: NgramModel, context: list[str], word: str) -> float:
    """Log-probability by an ARPA file's rules, one n-gram after the other."""
    place = {name: index for index, name in enumerate(model.words)}
    gram = [place[name] for name in [*context, word]][-len(model.orders) :]
    total = 0.0
    while True:
        order = model.orders[len(gram) - 1]
        (rows,) = np.nonzero((order.grams == gram).all(axis=1))
        if len(rows):
            return total + float(order.log_probs[rows[0]])
        shorter = model.orders[len(gram) - 2]
        (rows,) = np.nonzero((shorter.grams == gram[:-1]).all(axis=1))
        total += float(shorter.backoffs[rows[0]]) if len(rows) else 0.0
        gram = gram[1:]


def check_against_walk(model: NgramModel, pieces: list[str]) -> None:
    table = NgramTable(model, pieces)
    labels = random_labels(30, 6, len(pieces))
    for steps in range(labels.shape[1] + 1):
        state = advance_all(table, labels[:, :steps])
        scores, ends = table.scores(state), table.end(state)
        assert scores.dtype == torch.float32
        for row in range(len(labels)):
            context = ["<s>", *(pieces[label - 1] for label in labels[row, :steps].tolist())]
            expected = [walk(model, context, piece) for piece in pieces]
            torch.testing.assert_close(scores[row], torch.tensor(expected), atol=1e-5, rtol=1e-5)
            assert float(ends[row]) == pytest.approx(walk(model, context, "</s>"), abs=1e-5)


def test_equals_a_naive_walk(model: NgramModel, pieces: list[str]) -> None:
    check_against_walk(model, pieces)


def test_shorter_n_grams_may_be_missing_and_rows_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "pruned.arpa"
    path.write_text(PRUNED)
    check_against_walk(read_arpa(path), ["<unk>", "a", "b"])


def test_probabilities_of_every_context_sum_to_one(model: NgramModel, pieces: list[str]) -> None:
    table = NgramTable(model, pieces)
    missing = len(table.first) - 2
    states = [NgramState(torch.tensor([[0] + [missing] * (table.order - 1)]))]
    for order in model.orders[:-1]:
        for first, *others in order.grams.tolist():
            state = (
                table.start(1) if first == 0 else table.advance(states[0], torch.tensor([first]))
            )
            for token in others:
                state = table.advance(state, torch.tensor([token]))
            states.append(state)
    state = NgramState(torch.cat([state.contexts for state in states]))
    assert set(state.contexts.flatten().tolist()) == set(range(missing + 1))
    total = table.scores(state).double().exp().sum(dim=1) + table.end(state).double().exp()
    torch.testing.assert_close(total, torch.ones_like(total), atol=2e-6, rtol=0)


def test_equals_kenlm(model: NgramModel, pieces: list[str], tmp_path: Path) -> None:
    write_arpa(model, tmp_path / "a.arpa")
    oracle = kenlm.Model(str(tmp_path / "a.arpa"))
    table = NgramTable(read_arpa(tmp_path / "a.arpa"), pieces)
    labels = random_labels(200, 9, len(pieces))
    state = table.start(len(labels))
    steps = []
    for step in range(labels.shape[1]):
        steps.append(table.scores(state).gather(1, labels[:, step, None] - 1).squeeze(1))
        state = table.advance(state, labels[:, step])
    # (hypothesis, token)
    found = torch.stack([*steps, table.end(state)], dim=1)
    for row, hypothesis in enumerate(labels.tolist()):
        text = " ".join(pieces[label - 1] for label in hypothesis)
        expected = [log10_prob for log10_prob, *_ in oracle.full_scores(text)]
        np.testing.assert_allclose(found[row] / np.log(10), expected, atol=3e-6)


def test_sentences_of_all_lengths_equal_kenlm(
    model: NgramModel,
    pieces: list[str],
    sentences: list[NDArray[np.int32]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asr.lm.ngram_table._SENTENCES_AT_A_TIME", 70)
    write_arpa(model, tmp_path / "a.arpa")
    oracle = kenlm.Model(str(tmp_path / "a.arpa"))
    table = NgramTable(model, pieces)
    assert {len(sentence) for sentence in sentences} == set(range(12))
    texts = [" ".join(pieces[label - 1] for label in sentence) for sentence in sentences]
    expected = torch.tensor([oracle.score(text) for text in texts], dtype=torch.float64)
    found = table.sentence_log_probs(sentences)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found / np.log(10), expected, atol=2e-5, rtol=0)


def test_select_takes_hypotheses_in_any_order(model: NgramModel, pieces: list[str]) -> None:
    table = NgramTable(model, pieces)
    state = advance_all(table, random_labels(6, 4, len(pieces)))
    index = torch.tensor([5, 0, 0, 3])
    picked = state.select(index)
    assert isinstance(picked, NgramState)
    assert torch.equal(table.scores(picked), table.scores(state)[index])
    assert torch.equal(table.end(picked), table.end(state)[index])


def test_no_hypotheses(model: NgramModel, pieces: list[str]) -> None:
    table = NgramTable(model, pieces)
    state = table.start(0)
    assert table.scores(state).shape == (0, len(pieces))
    assert table.end(table.advance(state, torch.empty(0, dtype=torch.int64))).shape == (0,)


def test_another_vocabulary_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(PRUNED)
    model = read_arpa(path)
    message = r"over the 3 token pieces, found one that lacks 1 of them \['c'\] and has 1 .*\['b'\]"
    with pytest.raises(ValueError, match=message):
        NgramTable(model, ["<unk>", "a", "c"])
    with pytest.raises(ValueError, match="lacks 0 of them"):
        NgramTable(model, ["<unk>", "a"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [2, 1], [1, 2]], "expected each n-gram once, found a 2-gram twice"),
        ([[1, 2]], "expected the context of every 3-gram among the 2-grams, found one without"),
    ],
)
def test_inconsistent_n_grams_are_errors(rows: list[list[int]], message: str) -> None:
    def order(grams: list[list[int]]) -> NgramOrder:
        zeros = np.zeros(len(grams), dtype=np.float32)
        return NgramOrder(grams=np.array(grams, dtype=np.int32), log_probs=zeros, backoffs=zeros)

    unigrams = order([[0], [1], [2], [3]])
    model = NgramModel(
        words=["<s>", "a", "b", "</s>"], orders=[unigrams, order(rows), order([[2, 1, 3]])]
    )
    with pytest.raises(ValueError, match=message):
        NgramTable(model, ["a", "b"])
