import gzip
import json
from pathlib import Path

import pytest

from asr.data.text_corpus import read_text_corpus
from asr.tokens.tokenizer import Tokenizer


def test_read_plain_and_gzipped_in_order(letters: Tokenizer, tmp_path: Path) -> None:
    plain, compressed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    plain.write_text("The Fox,\n\n ?! \nA dog\u2019s\n")
    compressed.write_bytes(gzip.compress(b"over; a lazy dog"))
    corpus = read_text_corpus([compressed, plain], letters)
    texts = [letters.decode(sentence.tolist()) for sentence in corpus.sentences]
    assert texts == ["OVER A LAZY DOG", "THE FOX"]
    assert (corpus.words, corpus.tokens) == (6, len("_OVER_A_LAZY_DOG") + len("_THE_FOX"))
    # Letters without an apostrophe.
    assert (corpus.left_out, corpus.out_of_vocabulary_words) == (1, 1)
    assert corpus.unknown_characters == {"'"}


def test_every_word_with_an_unknown_character_counts(letters: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\u00c9T\u00c9 a \u00e9 b\nI'm 3\nb a\n")
    corpus = read_text_corpus([path], letters)
    assert (len(corpus.sentences), corpus.words, corpus.tokens) == (1, 2, 4)
    assert (corpus.left_out, corpus.out_of_vocabulary_words) == (2, 4)
    assert corpus.unknown_characters == {"\u00c9", "'", "3"}


def test_files_that_cannot_be_read_are_named(letters: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected text at .*none\.txt, found no file"):
        read_text_corpus([tmp_path / "none.txt"], letters)
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"a dog\n\xe9\n")
    with pytest.raises(ValueError, match=r"latin\.txt:2: expected text in UTF-8"):
        read_text_corpus([latin], letters)
    damaged = tmp_path / "c.txt.gz"
    for content in (b"a dog\n", gzip.compress(b"a dog\n")[:-4]):
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.txt\.gz: expected a whole gzipped file"):
            read_text_corpus([damaged], letters)


def test_manifest_gives_its_transcripts(letters: Tokenizer, tmp_path: Path) -> None:
    lines = [
        {"audio_filepath": f"{text}.wav", "duration": 1.0, "text": text} for text in ("dog", "fox")
    ]
    manifest = tmp_path / "train.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    corpus = read_text_corpus([manifest], letters)
    assert [letters.decode(sentence.tolist()) for sentence in corpus.sentences] == ["DOG", "FOX"]
