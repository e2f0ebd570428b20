import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asr.cli.tokenize import tokenize
from asr.tokens.tokenizer import Tokenizer

app = typer.Typer()
app.command()(tokenize)


def manifest(path: Path, texts: list[str | None]) -> Path:
    records = [
        {"audio_filepath": f"{path.stem}{index}.flac", "duration": 1.0, "text": text}
        for index, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_tokenize_reads_every_manifest_and_writes_the_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = manifest(tmp_path / "a.jsonl", ["ab ba"])
    second = manifest(tmp_path / "b.jsonl", ["c d", None])
    out = tmp_path / "new" / "tokens"
    arguments = ["--manifest", str(first), "--manifest", str(second), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--vocab-size", "7", "--type", "bpe"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"7 pieces in {out / 'tokenizer.model'}\n"
    tokenizer = Tokenizer.load(out)
    assert tokenizer.vocab_size == 7
    assert tokenizer.decode(tokenizer.encode("ab d c")) == "AB D C"
    assert "1 of 3 utterances have no transcript" in caplog.text


def test_characters_need_no_vocabulary_size(tmp_path: Path) -> None:
    arguments = ["--manifest", str(manifest(tmp_path / "a.jsonl", ["ab ba"])), "--type", "char"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("4 pieces in ")


def test_text_and_vocabulary_size_are_required(tmp_path: Path) -> None:
    path = manifest(tmp_path / "a.jsonl", ["ab ba"])
    with pytest.raises(typer.BadParameter, match="expected --vocab-size with --type unigram"):
        tokenize(manifest=[path], out=tmp_path)
    empty = manifest(tmp_path / "b.jsonl", [None])
    with pytest.raises(ValueError, match="expected text to train the tokenizer on"):
        tokenize(manifest=[empty], out=tmp_path, vocab_size=10)
    assert not list(tmp_path.glob("tokenizer.model"))


def test_wrong_usage_exits_with_2(tmp_path: Path) -> None:
    path = manifest(tmp_path / "a.jsonl", ["ab ba"])
    arguments = ["--manifest", str(path), "--out", str(tmp_path), "--vocab-size"]
    assert CliRunner().invoke(app, [*arguments, "0"]).exit_code == 2
    assert CliRunner().invoke(app, [*arguments, "9", "--type", "words"]).exit_code == 2
