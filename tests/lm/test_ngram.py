import gzip
import io
import tomllib
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from asr.data.text_corpus import TextCorpus, read_text_corpus
from asr.lm.arpa import read_arpa
from asr.lm.ngram import load_ngram, train_ngram
from asr.tokens.tokenizer import Tokenizer, train_tokenizer

TEXT = "a lazy dog\nthe quick fox\nthe lazy fox jumps\nthe dog\n"


@pytest.fixture
def corpus(letters: Tokenizer, tmp_path: Path) -> TextCorpus:
    (tmp_path / "text.txt").write_text(TEXT)
    return read_text_corpus([tmp_path / "text.txt"], letters)


@pytest.fixture
def folder(letters: Tokenizer, corpus: TextCorpus, tmp_path: Path) -> Path:
    train_ngram(corpus, letters, tmp_path / "new" / "lm", order=3)
    return tmp_path / "new" / "lm"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_train_and_load(
    letters: Tokenizer, corpus: TextCorpus, folder: Path, tmp_path: Path
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "lm.toml",
        "ngram.arpa",
        "tokenizer.model",
    ]
    assert tomllib.loads((folder / "lm.toml").read_text()) == {
        "type": "ngram",
        "order": 3,
        "min_counts": [1, 1, 1],
        "sentences": 4,
        "tokens": sum(1 + len(line) for line in TEXT.splitlines()),
        "tokenizer_sha256": letters.digest,
    }
    loaded = load_ngram(folder)
    assert loaded.tokenizer.pieces == letters.pieces
    assert loaded.description.order == loaded.table.order == 3
    # Text trained on is likelier than the same words in another order.
    likely, unlikely = (torch.tensor(letters.encode(text)) for text in ("the dog", "dog the"))
    totals = loaded.table.sentence_log_probs(
        [labels.int().numpy() for labels in (likely, unlikely)]
    )
    assert totals[0] > totals[1]
    # A gzipped file serves as well.
    content = (folder / "ngram.arpa").read_bytes()
    (folder / "ngram.arpa.gz").write_bytes(gzip.compress(content))
    (folder / "ngram.arpa").unlink()
    assert torch.equal(load_ngram(folder).table.log_probs, loaded.table.log_probs)


def test_minimum_counts_are_applied_and_described(
    letters: Tokenizer, corpus: TextCorpus, folder: Path, tmp_path: Path
) -> None:
    model = train_ngram(corpus, letters, tmp_path / "b", order=3, min_counts=[1, 1, 2])
    full = read_arpa(folder / "ngram.arpa")
    sizes = [len(order.grams) for order in model.orders]
    assert sizes[:2] == [len(order.grams) for order in full.orders[:2]]
    assert 0 < sizes[2] < len(full.orders[2].grams)
    assert load_ngram(tmp_path / "b").description.min_counts == (1, 1, 2)


def test_a_folder_that_is_there_is_left_alone(
    letters: Tokenizer, corpus: TextCorpus, folder: Path
) -> None:
    with pytest.raises(ValueError, match=r"expected a new folder, found .*lm; remove it"):
        train_ngram(corpus, letters, folder, order=2)
    assert load_ngram(folder).table.order == 3


@pytest.mark.parametrize(
    "special", [{"bos_id": 1, "eos_id": 2}, {"user_defined_symbols": ["</s>"], "eos_id": -1}]
)
def test_pieces_with_reserved_names_are_errors(
    corpus: TextCorpus, tmp_path: Path, special: dict[str, Any]
) -> None:
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXT.splitlines()),
        model_writer=stream,
        model_type="char",
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **special,
    )
    with pytest.raises(ValueError, match=r"expected <unk> as the first piece .*, found \['</s>'"):
        train_ngram(corpus, Tokenizer(stream.getvalue()), tmp_path / "lm", order=2)
    assert not (tmp_path / "lm").exists()


def test_what_does_not_belong_together_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"with lm\.toml at .*, found no folder; make one"):
        load_ngram(folder / "none")
    with pytest.raises(FileNotFoundError, match=r"with lm\.toml at .*, found none; make one"):
        load_ngram(folder.parent)
    change(folder / "lm.toml", "order = 3", "order = 4")
    with pytest.raises(ValueError, match=r"expected order 4, as lm\.toml says, found 3"):
        load_ngram(folder)
    change(folder / "lm.toml", "order = 4", "order = 1")
    with pytest.raises(ValueError, match=r"lm\.toml\.order: .* greater than or equal to 2"):
        load_ngram(folder)
    for key in ("sentences", "tokens"):
        text = (folder / "lm.toml").read_text()
        (folder / "lm.toml").write_text(text.replace(f"{key} = ", f"{key} = 0 # "))
        with pytest.raises(ValueError, match=rf"lm\.toml\.{key}: .* greater than or equal to 1"):
            load_ngram(folder)
        (folder / "lm.toml").write_text(text)
    change(folder / "lm.toml", "order = 1", "ordre = 3")
    with pytest.raises(ValueError, match="did you mean 'order'"):
        load_ngram(folder)
    (folder / "lm.toml").write_text("order = ")
    with pytest.raises(ValueError, match=r"lm\.toml: expected TOML"):
        load_ngram(folder)


def test_a_damaged_file_is_an_error_that_names_it(letters: Tokenizer, folder: Path) -> None:
    change(folder / "ngram.arpa", "\tF\t", "\t5\t")
    with pytest.raises(ValueError, match=r"ngram\.arpa:\d+: expected words that are among the 1-"):
        load_ngram(folder)
    change(folder / "ngram.arpa", "F", "5")
    with pytest.raises(ValueError, match=r"ngram\.arpa: expected a language model over the"):
        load_ngram(folder)
    (folder / "ngram.arpa").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected an ARPA file at .*ngram\.arpa"):
        load_ngram(folder)
    train_tokenizer(["other"], vocab_size=None, kind="char").save(folder)
    with pytest.raises(ValueError, match=f"tokenizer with sha256 {letters.digest}, found"):
        load_ngram(folder)
