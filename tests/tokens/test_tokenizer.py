import hashlib
import io
import logging
import pickle
from pathlib import Path

import pytest
import sentencepiece

from asr.tokens.tokenizer import Tokenizer, TokenizerKind, check_same_tokenizer, train_tokenizer

TEXTS = [
    "SHE SELLS SEA SHELLS BY THE SEA SHORE",
    "THE SHELLS SHE SELLS ARE SEA SHELLS I'M SURE",
    "SO IF SHE SELLS SEA SHELLS ON THE SEA SHORE",
    "THEN I'M SURE SHE SELLS SEA SHORE SHELLS",
]
CHARACTERS = set("".join(TEXTS))
KINDS: tuple[TokenizerKind, ...] = ("unigram", "bpe", "char")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(TEXTS, vocab_size=len(CHARACTERS) + 1, kind=request.param)


def test_round_trip(tokenizer: Tokenizer) -> None:
    for text in [*TEXTS, "SHORE", "I'M"]:
        labels = tokenizer.encode(text)
        assert min(labels) >= 1
        assert max(labels) <= tokenizer.vocab_size
        assert tokenizer.decode(labels) == text


def test_encode_normalises(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(" she sells, sea-shells! I\u2019m ") == tokenizer.encode(
        "SHE SELLS SEA SHELLS I'M"
    )


def test_labels_are_sentencepiece_ids_plus_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "m.model")
    oracle = sentencepiece.SentencePieceProcessor(str(tmp_path / "m.model"))
    assert tokenizer.encode(TEXTS[0]) == [index + 1 for index in oracle.EncodeAsIds(TEXTS[0])]
    assert tokenizer.vocab_size == oracle.GetPieceSize() == len(tokenizer.pieces)
    pieces = [tokenizer.pieces[label - 1] for label in tokenizer.encode(TEXTS[0])]
    assert pieces == oracle.EncodeAsPieces(TEXTS[0])


def test_only_the_unknown_piece_is_special(tokenizer: Tokenizer) -> None:
    assert tokenizer.pieces[0] == "<unk>"
    assert not [piece for piece in tokenizer.pieces[1:] if "<" in piece]


def test_starts_word_marks_the_first_piece_of_each_word(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        starts = [tokenizer.starts_word(label) for label in tokenizer.encode(text)]
        assert starts[0]
        assert sum(starts) == len(text.split())


def test_decode_joins_words_by_single_blanks_in_any_order_of_labels() -> None:
    tokenizer = train_tokenizer(["AB BA"], vocab_size=None, kind="char")
    blank, a = tokenizer.encode("A")
    assert tokenizer.decode([blank, blank, a, blank, blank, a, a, blank]) == "A AA"
    assert tokenizer.decode([blank]) == ""
    assert tokenizer.decode([]) == ""


def test_empty_text_has_no_labels(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == tokenizer.encode(" ... ") == []


def test_unknown_characters_are_named_and_refused(tokenizer: Tokenizer) -> None:
    text = "she saw caf\u00e9 7"
    assert tokenizer.unknown_characters(text) == {"W", "C", "\u00c9", "7"}
    assert tokenizer.unknown_characters(TEXTS[0]) == set()
    with pytest.raises(ValueError, match=r"found \['7', 'C', 'W', '\u00c9'\] in 'she saw"):
        tokenizer.encode(text)


@pytest.mark.parametrize("labels", [[0], [1, 2, 0], [10_000], [-1]])
def test_decode_refuses_labels_outside_the_vocabulary(
    tokenizer: Tokenizer, labels: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"expected labels in 1 \.\. \d+, found"):
        tokenizer.decode(labels)
    with pytest.raises(ValueError, match="expected labels in"):
        tokenizer.starts_word(labels[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_bytes(kind: TokenizerKind, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_tokenizer(iter(TEXTS), vocab_size=30, kind=kind).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_too_large_for_the_text_is_reduced_with_a_warning(
    kind: TokenizerKind, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=5000, kind=kind)
    assert len(CHARACTERS) < tokenizer.vocab_size < 200
    assert f"{tokenizer.vocab_size} pieces instead of 5000" in caplog.text
    assert "too small" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_too_small_for_the_characters_is_enlarged_with_a_warning(
    kind: TokenizerKind, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=3, kind=kind)
    assert tokenizer.vocab_size == len(CHARACTERS) + 1
    assert f"the texts have {len(CHARACTERS)} characters" in caplog.text
    assert tokenizer.unknown_characters("".join(TEXTS)) == set()


def test_a_vocabulary_that_fits_is_met_exactly_and_quietly(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        assert train_tokenizer(TEXTS, vocab_size=30, kind="bpe").vocab_size == 30
        # Of one word, so that the blank is a character only through SentencePiece.
        assert train_tokenizer(["abc"], vocab_size=5, kind="unigram").vocab_size == 5
        train_tokenizer(TEXTS, vocab_size=None, kind="char")
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_a_long_transcript_is_not_dropped() -> None:
    long = "AB " * 3000 + "Z"
    assert (
        train_tokenizer(["A", long], vocab_size=None, kind="char").unknown_characters(long) == set()
    )


@pytest.mark.parametrize("texts", [[], ["", " ?! "]])
def test_no_text_is_an_error(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="expected text to train the tokenizer on, found none"):
        train_tokenizer(texts, vocab_size=30, kind="bpe")


def test_the_vocabulary_size_is_checked() -> None:
    with pytest.raises(ValueError, match="expected a vocabulary size for a bpe tokenizer"):
        train_tokenizer(TEXTS, vocab_size=None, kind="bpe")
    with pytest.raises(ValueError, match="of at least 1, found 0"):
        train_tokenizer(TEXTS, vocab_size=0, kind="char")


def test_save_and_load_by_file_or_folder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new" / "tokenizer.model")
    tokenizer.save(tmp_path)
    for path in (tmp_path / "new" / "tokenizer.model", tmp_path / "new", tmp_path):
        assert Tokenizer.load(path).encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    assert not list(tmp_path.rglob("*.part"))


def test_loading_what_is_no_tokenizer_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.model, found no file; make one with"):
        Tokenizer.load(tmp_path)
    file = tmp_path / "x.model"
    for content in (b"", b"not a model at all"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.model: expected a SentencePiece model"):
            Tokenizer.load(file)


def test_pickled_for_loader_workers(tokenizer: Tokenizer) -> None:
    copy = pickle.load(io.BytesIO(pickle.dumps(tokenizer)))
    assert copy.encode(TEXTS[2]) == tokenizer.encode(TEXTS[2])
    assert copy.pieces == tokenizer.pieces


def test_the_digest_tells_tokenizers_apart(letters: Tokenizer, tmp_path: Path) -> None:
    letters.save(tmp_path)
    assert letters.digest == hashlib.sha256((tmp_path / "tokenizer.model").read_bytes()).hexdigest()
    check_same_tokenizer(language_model=Tokenizer.load(tmp_path), recognizer=letters)
    # The same pieces in number, not in name.
    pieces = letters.vocab_size
    other = train_tokenizer(
        [chr(ord("a") + i) for i in range(pieces - 2)], vocab_size=None, kind="char"
    )
    with pytest.raises(
        ValueError,
        match=rf"over the same token pieces, found another tokenizer \({other.vocab_size} pieces, "
        rf"the recogniser's has {pieces}\)",
    ):
        check_same_tokenizer(language_model=other, recognizer=letters)
