import gzip
from pathlib import Path

import kenlm
import numpy as np
import pytest

from asr.lm.arpa import ArpaError, read_arpa, write_arpa

ARPA = """
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.25\t</s>
-0.5\t\u2581\u00e9\t0.125

\\2-grams:
-0.125\t<s> \u2581\u00e9
-0.75\t\u2581\u00e9 </s>

\\end\\
"""


def put(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
def test_read(tmp_path: Path, name: str) -> None:
    model = read_arpa(put(tmp_path / name, ARPA))
    assert model.words == ["<unk>", "<s>", "</s>", "\u2581\u00e9"]
    unigrams, bigrams = model.orders
    assert unigrams.grams.tolist() == [[0], [1], [2], [3]]
    assert bigrams.grams.tolist() == [[1, 3], [3, 2]]
    ln10 = np.log(10)
    np.testing.assert_allclose(unigrams.log_probs / ln10, [-1, -99, -0.25, -0.5], rtol=1e-6)
    np.testing.assert_allclose(unigrams.backoffs / ln10, [0, -0.5, 0, 0.125], rtol=1e-6)
    np.testing.assert_allclose(bigrams.log_probs / ln10, [-0.125, -0.75], rtol=1e-6)
    assert bigrams.backoffs.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["b.arpa", "b.arpa.gz"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    model = read_arpa(put(tmp_path / "a.arpa", ARPA))
    write_arpa(model, tmp_path / name)
    again = read_arpa(tmp_path / name)
    assert again.words == model.words
    for order, former in zip(again.orders, model.orders, strict=True):
        assert order.grams.tolist() == former.grams.tolist()
        np.testing.assert_allclose(order.log_probs, former.log_probs, atol=2e-7, rtol=1e-6)
        np.testing.assert_allclose(order.backoffs, former.backoffs, atol=2e-7, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.arpa", name]
    oracle = kenlm.Model(str(tmp_path / name))
    assert oracle.score("\u2581\u00e9") == pytest.approx(-0.125 - 0.75, abs=1e-6)


def test_fields_are_split_at_ascii_white_space_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "a.arpa", ARPA.replace("\u2581\u00e9", "x\u00a0y").replace("\t", "  "))
    assert read_arpa(path).words[3] == "x\u00a0y"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "{", r"a.arpa:2: expected an ARPA file, .* \\data\\, found '\{'"),
        ("ngram 1=4\nngram 2=2\n", "", r"expected `ngram 1=COUNT`, found '\\\\1-grams:'"),
        ("ngram 1=4\n", "", r"expected `ngram 1=COUNT`, COUNT above 0, found 'ngram 2=2'"),
        ("1=4", "1=x", "expected `ngram 1=COUNT`, COUNT above 0, found 'ngram 1=x'"),
        ("2=2", "2=0", "expected `ngram 2=COUNT`, COUNT above 0, found 'ngram 2=0'"),
        (
            "1=4",
            "1=5",
            r"expected another 1-gram \(4 of the header's 5 are there\), found '\\\\2-grams:'",
        ),
        (
            "2=2",
            "2=3",
            r"expected another 2-gram \(2 of the header's 3 are there\), found '\\\\end\\\\'",
        ),
        ("1=4", "1=3", r"expected the heading \\2-grams:, found '-0.5 .* 0.125'"),
        ("2=2", "2=1", r"expected \\end\\ after the 1 2-grams of the header, found '-0.75"),
        ("\\2-grams:", "\\3-grams:", r"heading \\2-grams:, found '\\\\3-grams:'"),
        ("\\end\\", "", r"expected \\end\\ after .*, found the end of the file"),
        ("-0.125\t", "?\t", r"a.arpa:13: expected log10 probability, 2 words and log10 weight"),
        ("-0.125\t", "0.125\t", "expected log10 of a probability and of a .* weight, found '0.125"),
        ("-0.125\t", "nan\t", "expected log10 of a probability"),
        ("-0.125\t", "-inf\t", "expected log10 of a probability"),
        ("\t0.125", "\tinf", "expected log10 of a probability"),
        ("\t0.125", "\tx", r"a.arpa:10: expected log10 probability, 1 words"),
        (" </s>\n\n", " </s>\t-0.1\n\n", "expected log10 probability, 2 words"),
        ("<s> ", "<S> ", "expected words that are among the 1-grams, found '-0.125 <S>"),
        ("\t</s>\n", "\t<s>\n", "expected each word once, found '-0.25 <s>'"),
    ],
)
def test_a_damaged_file_names_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ARPA
    path = put(tmp_path / "a.arpa", ARPA.replace(old, new, 1))
    with pytest.raises(ArpaError, match=message):
        read_arpa(path)


def test_truncated_anywhere(tmp_path: Path) -> None:
    whole = ARPA.strip().encode()
    for end in range(len(whole)):
        path = tmp_path / "a.arpa"
        path.write_bytes(whole[:end])
        with pytest.raises(ArpaError, match="expected"):
            read_arpa(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected an ARPA file at .*, found no file"):
        read_arpa(tmp_path / "a.arpa")
    path = tmp_path / "a.arpa"
    path.write_bytes(b"")
    with pytest.raises(ArpaError, match=r"a.arpa:0: expected an ARPA file.*the end of the file"):
        read_arpa(path)
    path.write_bytes(gzip.compress(ARPA.encode()))
    with pytest.raises(ArpaError, match="expected an ARPA file"):
        read_arpa(path)
    path.write_bytes(ARPA.encode("utf-8").replace("\u2581".encode(), b"\xff"))
    with pytest.raises(ArpaError, match="expected words in UTF-8"):
        read_arpa(path)
    compressed = tmp_path / "a.arpa.gz"
    for content in (ARPA.encode(), gzip.compress(ARPA.encode())[:-20]):
        compressed.write_bytes(content)
        with pytest.raises(ArpaError, match="expected a whole gzipped file"):
            read_arpa(compressed)


def test_read_up_to_an_order(tmp_path: Path) -> None:
    path = put(tmp_path / "a.arpa", ARPA)
    whole = read_arpa(path)
    part = read_arpa(path, highest_order=1)
    assert part.words == whole.words
    [unigrams] = part.orders
    assert unigrams.log_probs.tolist() == whole.orders[0].log_probs.tolist()
    assert len(read_arpa(path, highest_order=2).orders) == 2
    # What lies behind is not read, but it has to begin where the header says.
    put(path, ARPA.replace("-0.125", "damaged"))
    assert read_arpa(path, highest_order=1).words == whole.words
    put(path, ARPA.replace("ngram 1=4", "ngram 1=3"))
    with pytest.raises(ArpaError, match=r"expected the heading .2-grams:, found"):
        read_arpa(path, highest_order=1)
