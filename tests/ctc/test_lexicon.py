import base64
import gzip
import logging
import math
import sys
import zlib
from pathlib import Path

import pytest
import torch

from asr.ctc.lexicon import LexiconWord, read_words
from asr.ctc.lexicon_beam import LexiconConfig, LexiconDecoder
from asr.tokens.tokenizer import Tokenizer, train_tokenizer

UNIGRAMS = ["-9\t<unk>", "-99\t<s>", "-0.8\t</s>", "-0.5\tFOX", "-0.9\tdog"]


def write_arpa(path: Path, unigrams: list[str]) -> Path:
    text = "\n".join(["", "\\data\\", f"ngram 1={len(unigrams)}", "", "\\1-grams:", *unigrams])
    content = f"{text}\n\n\\end\\\n".encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def spelled(tokenizer: Tokenizer, pieces: str) -> tuple[int, ...]:
    return tuple(tokenizer.pieces.index(piece) + 1 for piece in pieces.replace("_", "\u2581"))


@pytest.mark.parametrize("name", ["words.arpa", "words.arpa.gz"])
def test_words_of_an_arpa_file(letters: Tokenizer, tmp_path: Path, name: str) -> None:
    path = write_arpa(tmp_path / name, UNIGRAMS)
    assert read_words(path, letters) == [
        LexiconWord(text="FOX", lm_word="FOX", spellings=(spelled(letters, "_FOX"),)),
        LexiconWord(text="DOG", lm_word="dog", spellings=(spelled(letters, "_DOG"),)),
    ]


def test_best_segmentation_spells(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["fox dog foxes dogs"] * 5, vocab_size=12, kind="unigram")
    [fox, _] = read_words(write_arpa(tmp_path / "a.arpa", UNIGRAMS), tokenizer)
    assert fox.spellings == (tuple(tokenizer.encode("FOX")),)
    assert len(fox.spellings[0]) < 4


def test_words_of_one_form_and_words_left_out(
    letters: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = ["-3\tFox", "-0.4\tfox", "-1\tfox-trot", "-1\t...", "-1\tCAF\u00c9"]
    path = write_arpa(tmp_path / "a.arpa", [*UNIGRAMS, *more])
    with caplog.at_level(logging.INFO):
        words = read_words(path, letters)
    assert [(word.text, word.lm_word) for word in words] == [("FOX", "fox"), ("DOG", "dog")]
    assert "of 7 words, 2 are another form of a more probable one and 2 are not one" in caplog.text
    assert "2 words, left out 1 that the tokenizer cannot spell and 0 that the la" in caplog.text


def test_lexicon(letters: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lexicon = tmp_path / "words.txt"
    text = "fox\nDOG _ D O G\n\nfox _ F O X\nDOG _ D A W G\nHEN\nfox-trot\n"
    lexicon.write_text(text.replace("_", "\u2581"), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        words = read_words(write_arpa(tmp_path / "a.arpa", UNIGRAMS), letters, lexicon=lexicon)
    dogs = (spelled(letters, "_DOG"), spelled(letters, "_DAWG"))
    assert words == [
        LexiconWord(text="FOX", lm_word="FOX", spellings=(spelled(letters, "_FOX"),)),
        LexiconWord(text="DOG", lm_word="dog", spellings=dogs),
    ]
    assert "and 2 that the language model does not know" in caplog.text


def test_lexicon_of_other_pieces(letters: Tokenizer, tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("DOG\nFOX F AA1 K S\n")
    with pytest.raises(ValueError, match=r"lexicon.txt, line 2: expected a word and .*'AA1'"):
        read_words(write_arpa(tmp_path / "a.arpa", UNIGRAMS), letters, lexicon=lexicon)


@pytest.mark.parametrize("text", ["", "\n \n", "HEN\n"])
def test_lexicon_without_a_known_word(letters: Tokenizer, tmp_path: Path, text: str) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text(text)
    with pytest.raises(ValueError, match=r"lexicon.txt: expected words that the tokenizer can"):
        read_words(write_arpa(tmp_path / "a.arpa", UNIGRAMS), letters, lexicon=lexicon)


def test_language_model_of_another_script(letters: Tokenizer, tmp_path: Path) -> None:
    path = write_arpa(tmp_path / "a.arpa", [*UNIGRAMS[:3], "-1\t\u043b\u0438\u0441\u0430"])
    with pytest.raises(ValueError, match="found 1 that the tokenizer cannot spell and 0 that"):
        read_words(path, letters)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.arpa", b"", r"whose first line is .*found the end"),
        ("a.arpa", b"hello\n", "expected an ARPA file, .*found 'hello'"),
        ("a.arpa", b"\\data\\\nngram 1=3\n\n\\1-grams:\n-1\ta\n", "1 of the header's 3 are"),
        ("a.arpa", b"\\data\\\nngram 1=1\n\n\\1-grams:\nminus\ta\n", "found 'minus a'"),
        ("a.arpa", b"\\data\\\nngram 1=1\nngram 2=1\n\n\\1-grams:\n-1\ta\n-1\tb\n", "2-grams:"),
        (
            "a.arpa.gz",
            gzip.compress(b"\\data\\\nngram 1=3\n", mtime=0)[:-12],
            "expected a whole gzipped file",
        ),
    ],
)
def test_damaged_arpa_file(
    letters: Tokenizer, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        read_words(path, letters)


def test_missing_files(letters: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a language model at .*found no file"):
        read_words(tmp_path / "none.arpa", letters)
    with pytest.raises(FileNotFoundError, match=r"expected a language model at .*found a folder"):
        read_words(tmp_path, letters)
    path = write_arpa(tmp_path / "a.arpa", UNIGRAMS)
    with pytest.raises(FileNotFoundError, match="expected a lexicon at"):
        read_words(path, letters, lexicon=tmp_path / "none.txt")


# What kenlm's build_binary makes of the words fox and DOG and the pair of them.
BINARY = zlib.decompress(
    base64.b64decode(
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/AcC"
        "kAgjVIYJTB6wRxZjhdKMDKgAJF5Qp7jXsq0ULHc19PZ5v09aKcxo6sqXdbCaTZ+8kAXI5sr5/rG2+EE2EwNecADk"
        "SAaGY4dAtLGx8X4In2H/2TM++9LS0uyhfDDg+MSU0bLRWHjWzJn7kA2xKc3LtmOwKQZifSCRll/B4OLvzgAAKgY+"
        "bA=="
    )
)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "words.bin"
    path.write_bytes(BINARY)
    return path


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_text("FOX\nDOG\nHEN\n")
    return path


def test_binary_language_model(letters: Tokenizer, binary: Path, lexicon: Path) -> None:
    words = read_words(binary, letters, lexicon=lexicon)
    assert [(word.text, word.lm_word) for word in words] == [("FOX", "fox"), ("DOG", "DOG")]
    config = LexiconConfig(beam_size=10, lm_weight=1.0, word_score=0.0)
    decoder = LexiconDecoder.load(binary, letters, config=config, lexicon=lexicon)
    labels = torch.tensor(letters.encode("FOX DOG"))
    log_probs = (20.0 * torch.nn.functional.one_hot(labels, letters.vocab_size + 1)).log_softmax(1)
    state = decoder.start(1, device=log_probs.device)
    lengths = torch.tensor([len(log_probs)])
    [found] = decoder.finish(decoder.step(state, log_probs.unsqueeze(0), lengths))
    assert found.best.words is not None
    assert [word.text for word in found.best.words] == ["FOX", "DOG"]
    assert found.best.lm_score == pytest.approx(math.log(10) * (-0.5 - 0.3 - 0.7), abs=1e-5)


def test_words_that_a_lexicon_writes_in_mixed_letters(
    letters: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # kenlm reads this file as it does a binary; Attune is made to take it for one.
    monkeypatch.setattr("asr.lm.word_level.BINARY_MAGIC", b"\n\\data\\")
    words = ("FoX", "Dog", "dog", "hen")
    unigrams = [f"-0.{7 + number}\t{word}\t-0.1" for number, word in enumerate(words)]
    path = tmp_path / "a.arpa"
    lines = ["", "\\data\\", "ngram 1=7", "ngram 2=1", "", "\\1-grams:", "-9\t<unk>\t0"]
    lines += ["-99\t<s>\t0", "-0.8\t</s>", *unigrams, "", "\\2-grams:", "-0.1\t<s> hen", ""]
    path.write_text("\n".join([*lines, "\\end\\", ""]))
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("FoX\nDOG\nhen\ncat\n")
    found = read_words(path, letters, lexicon=lexicon)
    assert [(word.text, word.lm_word) for word in found] == [
        ("FOX", "FoX"),
        ("DOG", "Dog"),
        ("HEN", "hen"),
    ]


def test_binary_language_model_needs_a_lexicon(letters: Tokenizer, binary: Path) -> None:
    with pytest.raises(ValueError, match=r"words.bin: expected a lexicon beside kenlm's binary"):
        read_words(binary, letters)


def test_damaged_binary(letters: Tokenizer, binary: Path, lexicon: Path) -> None:
    binary.write_bytes(BINARY[:100])
    with pytest.raises(
        ValueError, match=r"words.bin: expected a complete ARPA .*found: "
    ) as caught:
        read_words(binary, letters, lexicon=lexicon)
    assert "\n" not in str(caught.value)


def test_missing_extra(
    letters: Tokenizer, binary: Path, lexicon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder.kenlm", None)
    with pytest.raises(FileNotFoundError, match=r"run: tools/setup\.sh lm"):
        read_words(binary, letters, lexicon=lexicon)
