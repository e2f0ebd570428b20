import json
from pathlib import Path

import kenlm
import numpy as np
import pytest
from typer.testing import CliRunner

from asr.cli.lm import app
from asr.lm.arpa import read_arpa
from asr.lm.ngram import load_ngram
from asr.tokens.tokenizer import Tokenizer

TEXT = "The lazy dog\na quick fox\nthe dog's fox\nthe fox jumps over a dog\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def train(text: Path, tokenizer: Tokenizer, out: Path, *more: str) -> list[str]:
    tokenizer.save(text.with_name("tokens") / "tokenizer.model")
    return [
        *("train", "--type", "ngram", "--text", str(text), "--order", "3"),
        *("--tokenizer", str(text.with_name("tokens")), "--out", str(out), *more),
    ]


def test_train_then_score(
    text: Path, letters: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "new" / "lm"
    result = CliRunner().invoke(app, train(text, letters, out, "--text", str(text)))
    assert result.exit_code == 0, result.output
    pieces = letters.vocab_size
    kept = [line for line in TEXT.splitlines() if "'" not in line]
    tokens = sum(1 + len(line) for line in kept)
    assert result.stdout.startswith(f"{pieces + 2} 1-grams, ")
    assert result.stdout.endswith(
        f" 3-grams from {2 * tokens} tokens, 24 words, 6 sentences, in {out}\n"
    )
    assert "2 of 8 sentences are left out: the tokenizer lacks '" in caplog.messages

    target = tmp_path / "figures" / "lm.json"
    result = CliRunner().invoke(app, ["score", str(out), str(text), "--json", str(target)])
    assert result.exit_code == 0, result.output
    oracle = kenlm.Model(str(out / "ngram.arpa"))
    texts = [[letters.pieces[label - 1] for label in letters.encode(line)] for line in kept]
    expected = np.log(10) * sum(oracle.score(" ".join(sentence)) for sentence in texts)
    figures = json.loads(target.read_text())
    assert figures["log_prob"] == pytest.approx(expected, rel=1e-5)
    assert figures["perplexity_per_word"] == pytest.approx(np.exp(-expected / 15), rel=1e-5)
    assert figures["words"] == 12
    assert figures["tokens"] == tokens
    assert figures["out_of_vocabulary_words"] == figures["sentences_left_out"] == 1
    assert list(target.parent.iterdir()) == [target]
    assert result.stdout == (
        f"perplexity {np.exp(-expected / 15):.2f} per word, "
        f"{np.exp(-expected / (tokens + 3)):.4f} per token\n"
        f"log-probability {expected:.2f} (natural logarithm)\n"
        f"3 sentences, 12 words, {tokens} tokens\n"
        "1 words out of vocabulary, in 1 sentences that are left out\n"
    )


def test_minimum_counts(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    arguments = train(text, letters, tmp_path / "lm", "--min-counts", "1,1,2")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "min_counts = [\n    1,\n    1,\n    2,\n]" in (tmp_path / "lm" / "lm.toml").read_text()
    wrong = train(text, letters, tmp_path / "lm2", "--min-counts", "1;2")
    error = CliRunner().invoke(app, wrong).exception
    assert "expected whole numbers separated by commas in --min-counts, found '1;2'" in str(error)


def test_reuse_trains_only_what_has_changed(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "lm"
    command = train(text, letters, out, "--reuse")
    check = [*command[:-1], "--check"]
    missing = CliRunner().invoke(app, check)
    assert f"made from these texts and options at {out}, found none" in str(missing.exception)
    assert CliRunner().invoke(app, command).exit_code == 0
    made = (out / "ngram.arpa").stat()
    for again in (command, check):
        result = CliRunner().invoke(app, again)
        assert (result.exit_code, result.stdout) == (0, f"up to date: {out}\n")
    assert (out / "ngram.arpa").stat().st_mtime_ns == made.st_mtime_ns
    assert load_ngram(out).description.made_from is not None

    text.write_text("a cow\na cow\n")
    stale = CliRunner().invoke(app, check)
    assert "found one of others; make it with --reuse" in str(stale.exception)
    assert CliRunner().invoke(app, command).stdout.endswith(f" 2 sentences, in {out}\n")
    other_order = [*command[:5], "--order", "2", *command[7:]]
    assert " 3-grams" not in CliRunner().invoke(app, other_order).stdout
    assert sorted(path.name for path in out.parent.iterdir() if path.name.startswith("lm")) == [
        "lm"
    ]
    refused = CliRunner().invoke(app, command[:-1])
    assert "expected a new folder" in str(refused.exception)


def test_reuse_replaces_a_model_of_an_older_version_and_nothing_else(
    text: Path, letters: Tokenizer, tmp_path: Path
) -> None:
    out = tmp_path / "lm"
    command = train(text, letters, out, "--reuse")
    assert CliRunner().invoke(app, command).exit_code == 0
    description = (out / "lm.toml").read_text()
    older = description[: description.index("[made_from]")]
    (out / "lm.toml").write_text(older)
    assert load_ngram(out).description.made_from is None
    stale = CliRunner().invoke(app, [*command[:-1], "--check"])
    assert "found one that does not say what it was made from" in str(stale.exception)
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (out / "lm.toml").read_text() == description
    other = tmp_path / "other"
    (other / "mine").mkdir(parents=True)
    refused = CliRunner().invoke(app, train(text, letters, other, "--reuse"))
    assert f"to replace, found {other} without" in str(refused.exception)
    assert (other / "mine").is_dir()
    assert not (tmp_path / "other.part").exists()


def test_reuse_of_a_word_ngram(tmp_path: Path) -> None:
    text, words, out = (tmp_path / name for name in ("text.txt", "words.txt", "words.arpa.gz"))
    text.write_text("a dog\na cat\n")
    words.write_text("cow\n")
    command = ["train", "--type", "word-ngram", "--text", str(text), "--words", str(words)]
    command += ["--order", "2", "--out", str(out)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert "expected a new file" in str(CliRunner().invoke(app, command).exception)
    command += ["--reuse"]
    assert CliRunner().invoke(app, command).stdout == f"up to date: {out}\n"
    words.write_text("horse\n")
    assert "2-grams in" in CliRunner().invoke(app, command).stdout
    assert "HORSE" in read_arpa(out).words
    assert "2-grams in" in CliRunner().invoke(app, [*command, "--min-word-count", "2"]).stdout
    (tmp_path / "words.arpa.gz.toml").write_text("type = 3\n")
    damaged = CliRunner().invoke(app, command)
    assert "words.arpa.gz.toml: expected the provenance" in str(damaged.exception)
    (tmp_path / "words.arpa.gz.toml").unlink()
    assert "2-grams in" in CliRunner().invoke(app, command).stdout
    assert CliRunner().invoke(app, [*command, "--check"]).exit_code == 2


def test_mistakes(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "lm"
    assert CliRunner().invoke(app, train(text, letters, out)).exit_code == 0
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("\u0416\n")
    error = CliRunner().invoke(app, ["score", str(out), str(foreign)]).exception
    assert "expected sentences to score, found none that the tokenizer can encode" in str(error)
    description = (out / "lm.toml").read_text()
    (out / "lm.toml").write_text(description.replace('"ngram"', '"trigram"'))
    error = CliRunner().invoke(app, ["score", str(out), str(text)]).exception
    assert "lm.toml: expected type to be one of ['ngram', 'transformer'], found 'trigram'" in str(
        error
    )
    error = CliRunner().invoke(app, train(tmp_path / "none.txt", letters, tmp_path / "b")).exception
    assert isinstance(error, FileNotFoundError)
    assert not (tmp_path / "b").exists()


def test_wrong_usage_exits_with_2(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    arguments = train(text, letters, tmp_path / "lm")
    for position, wrong in ((2, "lstm"), (6, "1")):
        changed = [*arguments[:position], wrong, *arguments[position + 1 :]]
        assert CliRunner().invoke(app, changed).exit_code == 2
    assert CliRunner().invoke(app, ["score", str(tmp_path)]).exit_code == 2


def test_memory_needs_segments(tmp_path: Path) -> None:
    arguments = ["score", str(tmp_path), str(tmp_path / "t.txt"), "--memory-tokens", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "needs --segment-tokens" in result.output


def test_device_and_words(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, train(text, letters, tmp_path / "lm")).exit_code == 0
    for lm, options, message in (
        (tmp_path / "lm", ["--device", "gpu"], "expected a device that torch can use, found 'gpu'"),
        (text, [], "one over words can only decode"),
    ):
        result = CliRunner().invoke(app, ["score", str(lm), str(text), *options])
        assert message in str(result.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--type", "ngram"], "expected --order"),
        (["--type", "ngram", "--order", "3", "--set", "a.b=1"], "expected no --set with"),
        (["--type", "transformer", "--order", "3"], "expected no --order with"),
        (["--type", "transformer", "--reuse"], "expected no --reuse with"),
        (["--type", "transformer"], "expected --config, --validation and one --text"),
    ],
)
def test_options_of_the_other_type_are_refused(options: list[str], message: str) -> None:
    common = ["train", "--text", "t.txt", "--tokenizer", "t", "--out", "o"]
    result = CliRunner().invoke(app, [*common, *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_transformer_trains_and_scores_with_memory(
    text: Path, letters: Tokenizer, tmp_path: Path
) -> None:
    config = Path(__file__).parents[2] / "recipes/librispeech/conf/lm/transformer_small.toml"
    letters.save(tmp_path / "tokens" / "tokenizer.model")
    small = ["data.segment_tokens=8", "data.batch_tokens=16", "model.width=16", "model.layers=1"]
    run = ["training.epochs=1", "training.warmup_steps=2", "training.threads=1"]
    command = [
        *("train", "--type", "transformer", "--config", str(config)),
        *("--text", str(text), "--validation", str(text), "--out", str(tmp_path / "lm")),
        *("--tokenizer", str(tmp_path / "tokens")),
        *(part for setting in [*small, *run] for part in ("--set", setting)),
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    refused = CliRunner().invoke(app, command)
    assert "expected a new folder" in str(refused.exception)
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert "nothing to do" in again.output
    score = ["score", str(tmp_path / "lm"), str(text)]
    segments = ["--segment-tokens", "4"]
    outputs = [
        CliRunner().invoke(app, [*score, *more]).output.splitlines()[0]
        for more in ([], segments, [*segments, "--memory-tokens", "9"])
    ]
    assert all(line.startswith("perplexity ") for line in outputs)
    assert len(set(outputs)) == 3


def test_memory_of_an_ngram_is_refused(text: Path, letters: Tokenizer, tmp_path: Path) -> None:
    CliRunner().invoke(app, train(text, letters, tmp_path / "lm"))
    result = CliRunner().invoke(
        app, ["score", str(tmp_path / "lm"), str(text), "--segment-tokens", "4"]
    )
    assert "sees nothing beyond a sentence" in str(result.exception)


def test_rescore_answers_with_its_new_name() -> None:
    command = ["rescore", "hyp.jsonl", "lm", "--out", "o", "--lm-weight", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "error: expected `asr rescore HYP --add NAME=LM --out OUT`, found its" in result.stderr
    assert "rescore" not in CliRunner().invoke(app, ["--help"]).output


def test_rare_words_and_ngrams_of_words_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a dog\na dog\na cat\n")
    out = tmp_path / "words.arpa"
    command = ["train", "--type", "word-ngram", "--text", str(tmp_path / "text.txt")]
    command += ["--order", "2", "--out", str(out)]
    more = ["--min-word-count", "2", "--min-counts", "1,2"]
    assert CliRunner().invoke(app, [*command, *more]).exit_code == 0
    model = read_arpa(out)
    assert set(model.words) == {"<s>", "</s>", "<unk>", "A", "DOG"}
    pairs = {tuple(model.words[word] for word in gram) for gram in model.orders[1].grams.tolist()}
    assert pairs == {("<s>", "A"), ("A", "DOG"), ("DOG", "</s>")}
    (tmp_path / "more.txt").write_text("cow\nCat's-tail\n")
    out.unlink()
    more = ["--min-word-count", "2", "--words", str(tmp_path / "more.txt")]
    assert CliRunner().invoke(app, [*command, *more]).exit_code == 0
    assert {"A", "DOG", "COW", "CAT'S", "TAIL"} < set(read_arpa(out).words)
    assert "CAT" not in read_arpa(out).words
