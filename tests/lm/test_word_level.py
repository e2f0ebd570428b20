"""Language models over words, as kenlm reads them."""

import math
import re
from pathlib import Path

import kenlm
import pytest

from asr.lm.arpa import read_arpa
from asr.lm.word_level import train_word_ngram, word_log_probs

_SENTENCES = ["THE DOG BARKS", "THE FOX JUMPS", "A DOG JUMPS", "THE DOG", "A FOX BARKS"]


@pytest.mark.parametrize("name", ["words.arpa", "words.arpa.gz"])
def test_probabilities_sum_to_one(tmp_path: Path, name: str) -> None:
    train_word_ngram(_SENTENCES, tmp_path / "new" / name, order=3)
    model = kenlm.Model(str(tmp_path / "new" / name))
    assert model.order == 3
    assert set(read_arpa(tmp_path / "new" / name).words) == {
        *("<s>", "</s>", "<unk>"),
        *("A", "BARKS", "DOG", "FOX", "JUMPS", "THE"),
    }
    words = ["A", "BARKS", "DOG", "FOX", "JUMPS", "THE", "</s>", "<unk>"]
    for history in ([], ["THE"], ["THE", "DOG"], ["A", "FOX"]):
        before = _state(model, history)
        total = sum(10 ** model.BaseScore(before, word, kenlm.State()) for word in words)
        assert total == pytest.approx(1, abs=1e-5)
    assert model.score("THE DOG") > model.score("DOG THE") + 1


def _state(model: kenlm.Model, history: list[str]) -> kenlm.State:
    state = kenlm.State()
    model.BeginSentenceWrite(state)
    for word in history:
        before, state = state, kenlm.State()
        model.BaseScore(before, word, state)
    return state


def test_rare_words_are_unknown(tmp_path: Path) -> None:
    out = tmp_path / "words.arpa"
    train_word_ngram([*_SENTENCES, "THE RARE CAT"], out, order=2, min_word_count=2)
    model = kenlm.Model(str(out))
    assert "CAT" not in model
    assert "FOX" in model
    # "THE" was followed by a rare word once, the beginning of a sentence never.
    after_the, begin = _state(model, ["THE"]), _state(model, [])
    scores = [model.BaseScore(each, "RARE", kenlm.State()) for each in (after_the, begin)]
    assert scores[0] > scores[1]


def test_words_that_the_text_lacks(tmp_path: Path) -> None:
    plain, larger = tmp_path / "plain.arpa", tmp_path / "larger.arpa"
    train_word_ngram(_SENTENCES, plain, order=2)
    train_word_ngram(_SENTENCES, larger, order=2, more_words=["FOX", "ZEBRA", "YAK", "ZEBRA"])
    before, after = kenlm.Model(str(plain)), kenlm.Model(str(larger))
    for context in (["THE"], ["THE", "FOX"]):
        state = _state(after, context)
        zebra, yak, unknown, fox = (
            after.BaseScore(state, word, kenlm.State()) for word in ("ZEBRA", "YAK", "<unk>", "FOX")
        )
        assert zebra == yak == unknown
        assert zebra < fox
    # What the unknown word had before is divided among the three and it, of two more words.
    words = read_arpa(plain).words
    size = len(words) - 1
    ratio = after.score("ZEBRA", bos=False, eos=False) - before.score("RARE", bos=False, eos=False)
    assert ratio == pytest.approx(math.log10(size / (size + 2)), abs=1e-4)
    assert {*read_arpa(larger).words} == {*words, "ZEBRA", "YAK"}


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name ends in \.arpa or \.arpa\.gz, found .*folder"):
        train_word_ngram(_SENTENCES, tmp_path / "folder", order=2)
    out = tmp_path / "words.arpa"
    with pytest.raises(ValueError, match="expected sentences to count n-grams in, found none"):
        train_word_ngram([], out, order=2)
    with pytest.raises(ValueError, match=r"expected an order of at most 6, .* found 7"):
        train_word_ngram(_SENTENCES, out, order=7)
    assert not out.exists()
    out.touch()
    with pytest.raises(ValueError, match="expected a new file"):
        train_word_ngram(_SENTENCES, out, order=2)


def test_texts_equal_kenlm(tmp_path: Path) -> None:
    path = tmp_path / "words.arpa"
    train_word_ngram([*_SENTENCES, "THE RARE CAT"], path, order=3, min_word_count=2)
    model = kenlm.Model(str(path))
    texts = ["THE DOG JUMPS", "THE CAT", "", "ZEBRA BARKS DOG"]
    expected = [math.log(10) * model.score(text) for text in texts]
    assert word_log_probs(path, texts) == pytest.approx(expected, rel=1e-5)


def test_words_meet_in_their_normalised_form(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper.arpa", tmp_path / "lower.arpa"
    train_word_ngram(_SENTENCES, upper, order=2)
    text = upper.read_text(encoding="utf-8")
    for word in ("THE", "DOG", "BARKS", "FOX", "JUMPS", "A"):
        text = re.sub(rf"\b{word}\b", word.lower(), text)
    lower.write_text(text, encoding="utf-8")
    assert word_log_probs(lower, ["A DOG BARKS"]) == word_log_probs(upper, ["A DOG BARKS"])


def test_language_model_that_knows_no_word(tmp_path: Path) -> None:
    train_word_ngram(_SENTENCES, tmp_path / "words.arpa", order=2)
    with pytest.raises(ValueError, match="knows words of the texts, found none of their 2; give"):
        word_log_probs(tmp_path / "words.arpa", ["EIN HUND"])
