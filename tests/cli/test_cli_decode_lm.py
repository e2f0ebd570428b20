"""`asr decode` with language models."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.cli.lm import app as lm_app
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.data.text_corpus import read_text_corpus
from asr.lm.ngram import load_ngram, train_ngram
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer, train_tokenizer
from asr.transcripts.hypothesis_file import read_hypotheses
from tests.cli.decode_runs import lines, run

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-2\t<unk>
-99\t<s>
-1\t</s>
-1\tfox
-1\tdog

\\2-grams:
-1\tfox dog

\\end\\
"""


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "words.arpa"
    path.write_text(ARPA)
    return path


def test_word_level_language_model(
    tiny_experiment: Path, audio: Path, arpa: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    result = run(tiny_experiment, audio, "--out", out, "--lm", arpa, "--word-score", 20)
    assert result.exit_code == 0, result.output
    found = read_hypotheses(out)
    assert list(found) == ["a", "b/x.y", "b/z", "c"]
    words = [word.word for hypothesis in found.values() for word in hypothesis.words]
    assert set(words) == {"FOX", "DOG"}
    assert all(item.text == " ".join(word.word for word in item.words) for item in found.values())
    # A tax on words leaves none.
    arguments = ("--decoder", "beam", "--lm", arpa, "--word-score", -1000, "--lm-weight", 1)
    assert run(tiny_experiment, audio, "--out", out, *arguments).exit_code == 0
    assert {item.text for item in read_hypotheses(out).values()} == {""}


def test_nbest_with_a_word_level_language_model(
    tiny_experiment: Path, audio: Path, arpa: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    options = ["--word-score", "8", "--lm-weight", "0.4", "--nbest", "2", "--beam-size", "50"]
    result = run(tiny_experiment, audio / "c.flac", "--out", out, "--lm", arpa, *options)
    assert result.exit_code == 0, result.output
    [record] = lines(out)
    assert record["text"] == record["nbest"][0]["text"]
    assert len({item["text"] for item in record["nbest"]}) == len(record["nbest"]) == 2
    for item in record["nbest"]:
        prior = 0.4 * item["lm_score"] + 8 * len(item["text"].split())
        assert item["score"] == pytest.approx(item["acoustic_score"] + prior)
        # Every word and the end have probability 0.1.
        words = len(item["text"].split())
        assert item["lm_score"] == pytest.approx(-np.log(10) * (words + 1), abs=1e-4)


def test_lexicon(tiny_experiment: Path, audio: Path, arpa: Path, tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text("DOG\n")
    out = tmp_path / "hyp.jsonl"
    arguments = ("--lm", arpa, "--lexicon", tmp_path / "lexicon.txt", "--word-score", 20)
    assert run(tiny_experiment, audio / "c.flac", "--out", out, *arguments).exit_code == 0
    assert {word.word for word in read_hypotheses(out)["c"].words} == {"DOG"}


@pytest.fixture
def token_lm(letters: Tokenizer, tmp_path: Path) -> Path:
    return make_token_lm(letters, tmp_path / "token-lm")


def make_token_lm(tokenizer: Tokenizer, folder: Path) -> Path:
    text = folder.with_name(f"{folder.name}.txt")
    text.write_text("a lazy dog\nthe fox jumps over a dog\na quick brown fox\n")
    train_ngram(read_text_corpus([text], tokenizer), tokenizer, folder, order=3)
    return folder


def test_token_level_language_model(
    tiny_experiment: Path, audio: Path, token_lm: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    options = ["--beam-size", "6", "--nbest", "4", "--lm-weight", "0.7", "--length-bonus", "1.5"]
    result = run(tiny_experiment, audio / "c.flac", "--out", out, "--lm", token_lm, *options)
    assert result.exit_code == 0, result.output
    [record] = lines(out)
    config = BeamConfig(beam_size=6, nbest=4, lm_weight=0.7, length_bonus=1.5)
    beam = BeamSearch(config, load_ngram(token_lm).table)
    [expected] = load(tiny_experiment, decoder=beam).transcribe([audio / "c.flac"])
    assert [item["text"] for item in record["nbest"]] == [item.text for item in expected.nbest]
    for item, other in zip(record["nbest"], expected.nbest, strict=True):
        assert item["lm_score"] == pytest.approx(other.lm_scores["lm_score"])
        assert item["tokens"] == other.tokens
        prior = 0.7 * item["lm_score"] + 1.5 * item["tokens"]
        assert item["score"] == pytest.approx(item["acoustic_score"] + prior)
    assert record["score"] == pytest.approx(expected.score)
    [alone] = load(tiny_experiment).transcribe([audio / "c.flac"])
    assert record["text"] != alone.text


def test_language_model_of_another_tokenizer(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    other = train_tokenizer(
        ["the lazy dog jumps over a quick brown fox"], vocab_size=40, kind="bpe"
    )
    lm = make_token_lm(other, tmp_path / "other")
    result = run(tiny_experiment, audio / "c.flac", "--out", tmp_path / "h.jsonl", "--lm", lm)
    assert isinstance(result.exception, ValueError)
    assert "expected a language model over the same token pieces" in str(result.exception)
    assert not (tmp_path / "h.jsonl").exists()


def test_language_model_that_is_none(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text("no language model")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("lm.arpa", "expected an ARPA file"),
        ("folder", "expected a language model with lm.toml"),
    ):
        result = run(tiny_experiment, audio, "--out", tmp_path / "h", "--lm", tmp_path / name)
        assert message in str(result.exception)
    result = run("no-experiment", "a.wav", "--out", tmp_path / "h", "--lm", tmp_path / "none.arpa")
    assert isinstance(result.exception, FileNotFoundError)
    assert "none.arpa, found nothing; give a folder that" in str(result.exception)


def test_word_level_language_model_of_ones_own(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("the quick dog\na dog jumps\n")
    arpa, out = tmp_path / "own.arpa.gz", tmp_path / "hyp.jsonl"
    words = ["train", "--type", "word-ngram", "--text", str(tmp_path / "text.txt")]
    trained = CliRunner().invoke(lm_app, [*words, "--order", "2", "--out", str(arpa)])
    assert trained.stdout == f"8 1-grams, 8 2-grams in {arpa}\n"
    result = run(tiny_experiment, audio, "--out", out, "--lm", arpa, "--word-score", 20)
    assert result.exit_code == 0, result.output
    found = {word.word for item in read_hypotheses(out).values() for word in item.words}
    assert found
    assert found <= {"THE", "QUICK", "DOG", "A", "JUMPS"}


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("token", ["--beam-size", 8, "--lm-weight", 0.5, "--length-bonus", 1.0]),
        ("word", ["--beam-size", 100, "--lm-weight", 0.5, "--word-score", 0.0]),
    ],
)
def test_defaults_with_a_language_model_are_those_of_help(
    *,
    tiny_experiment: Path,
    audio: Path,
    letters: Tokenizer,
    tmp_path: Path,
    kind: str,
    defaults: list[str | float],
) -> None:
    (tmp_path / "words.arpa").write_text(ARPA)
    lm = tmp_path / "words.arpa" if kind == "word" else make_token_lm(letters, tmp_path / "lm")
    found = []
    for options in ([], [str(each) for each in defaults]):
        out = tmp_path / f"{len(options)}.jsonl"
        result = run(tiny_experiment, audio, "--out", out, "--lm", lm, "--nbest", 2, *options)
        assert result.exit_code == 0, result.output
        found.append([item["nbest"] for item in lines(out)])
    assert found[0] == found[1]
    assert any(item["lm_score"] != 0 for nbest in found[0] for item in nbest)


def test_file_of_weights_counts_where_options_do_not(
    tiny_experiment: Path, audio: Path, token_lm: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "tuned.json"
    record = {"options": {"--lm-weight": 0.8, "--length-bonus": 0.5}, "tuning": {}}
    weights.write_text(json.dumps(record))
    found: list[list[Any]] = []
    choices: list[list[str | Path]] = [
        ["--weights", weights],
        ["--lm-weight", "0.8", "--length-bonus", "0.5"],
        ["--weights", weights, "--lm-weight", "0.1"],
        ["--lm-weight", "0.1", "--length-bonus", "0.5"],
    ]
    for options in choices:
        out = tmp_path / f"{len(found)}.jsonl"
        result = run(tiny_experiment, audio, "--out", out, "--lm", token_lm, "--nbest", 2, *options)
        assert result.exit_code == 0, result.output
        found.append([item["nbest"] for item in lines(out)])
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[0] != found[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights", "expected JSON, found"),
        ("[1]", "expected a JSON object with options, found none"),
        ('{"lm_weight": 1}', "expected a JSON object with options, found none"),
        ('{"options": {"--rescoring-weight": 1}}', "found '--rescoring-weight'; weights of"),
        ('{"options": {"--lm-weight": "1"}}', "expected --lm-weight to be a number, found '1'"),
    ],
)
def test_file_of_weights_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(text)
    result = run("exp", "a.wav", "--weights", path)
    assert isinstance(result.exception, ValueError)
    assert str(result.exception).startswith(f"{path}: ")
    assert message in str(result.exception)


def test_missing_file_of_weights(tmp_path: Path) -> None:
    result = run("exp", "a.wav", "--weights", tmp_path / "none.json")
    assert isinstance(result.exception, FileNotFoundError)


def test_weights_that_do_not_fit_the_search_are_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"options": {"--lm-weight": 0.5}}')
    result = run("exp", "a.wav", "--weights", path)
    assert result.exit_code == 2
    assert "--lm-weight: needs --lm" in " ".join(result.stderr.replace("│", " ").split())
