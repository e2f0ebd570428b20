import numpy as np
import pytest

from asr.inference.streaming import PartialText
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.tokens import Token
from asr.transcripts.word_times import group_words


def words_of(labels: list[int], letters: Tokenizer) -> str:
    tokens = [
        Token(label=label, start_frame=place, end_frame=place + 1, posterior=1.0)
        for place, label in enumerate(labels)
    ]
    return " ".join(word.text for word in group_words(tokens, letters))


@pytest.mark.parametrize("seed", range(5))
def test_any_change_gives_the_words_of_the_labels(letters: Tokenizer, seed: int) -> None:
    generator = np.random.default_rng(seed)
    text, labels = PartialText(letters), list[int]()
    for _ in range(60):
        # Decoders mostly change a few of the last labels, and seldom many.
        dropped = int(generator.choice([0, 1, 5, 100], p=[0.5, 0.3, 0.15, 0.05]))
        labels = labels[: max(0, len(labels) - dropped)]
        labels += generator.integers(1, letters.vocab_size + 1, size=20).tolist()
        assert text.of(labels) == words_of(labels, letters)
    assert len(labels) > 300


def test_a_word_without_end(letters: Tokenizer) -> None:
    text = PartialText(letters)
    label = letters.pieces.index("A") + 1
    for count in (0, 1, 127, 129, 400):
        assert text.of([label] * count) == "A" * count


def test_long_text_is_not_spelled_again(
    letters: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = 0
    decode = Tokenizer.decode

    def counted(tokenizer: Tokenizer, labels: list[int]) -> str:
        nonlocal spelled
        spelled += len(labels)
        return decode(tokenizer, labels)

    labels = letters.encode("THE QUICK BROWN FOX " * 200)
    text = PartialText(letters)
    monkeypatch.setattr(Tokenizer, "decode", counted)
    for end in range(0, len(labels), 4):
        text.of(labels[:end])
    # Every label a bounded number of times: those of a full spelling would be 500 on average.
    assert spelled < 50 * len(labels)
