import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from asr.cli.pronounce import pronounce
from asr.ctc.lexicon import read_words
from asr.data.manifest import read_manifest
from asr.tokens.tokenizer import Tokenizer, train_tokenizer

pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")

app = typer.Typer()
app.command()(pronounce)

ARPA = ["\\data\\", "ngram 1=6", "", "\\1-grams:", "-99\t<s>", "-1\t</s>"]
ARPA += ["-1\t<unk>", "-1\tsee", "-1\tSEA", "-1\tteapot", "", "\\end\\", ""]


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    texts = ["See the Sea", None, "a teapot", "\u02bb\u02bb\u02bb the sea", ""]
    lines = [
        {"audio_filepath": f"{index}.flac", "duration": 1.0, "text": text, "speaker": "s"}
        for index, text in enumerate(texts)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_words_are_found_by_their_phones(
    manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "phones" / "train.jsonl"
    result = run(manifest, "--out", out)
    assert result.exit_code == 0, result.output
    texts = [utterance.text for utterance in read_manifest(out)]
    assert texts == ["SI \u00d0\u018f SI", None, "\u2c6f TIP\u2c6dT", "\u00d0\u018f SI", ""]
    assert "1 words have no phones" in caplog.text
    before, after = read_manifest(manifest), read_manifest(out)
    assert [item.audio_filepath for item in before] == [item.audio_filepath for item in after]
    assert {item.speaker for item in after} == {"s"}

    tokenizer = train_tokenizer([text for text in texts if text], vocab_size=None, kind="char")
    tokenizer.save(tmp_path)
    arpa, lexicon = tmp_path / "words.arpa", tmp_path / "lexicon.txt"
    arpa.write_text("\n".join(ARPA))
    result = run(arpa, "--tokenizer", tmp_path, "--out", lexicon)
    assert result.stdout == f"3 of 3 words in {lexicon}\n"
    see, sea, teapot = read_words(arpa, tokenizer, lexicon=lexicon)
    assert (see.text, sea.text, teapot.text) == ("SEE", "SEA", "TEAPOT")
    assert see.spellings == sea.spellings == (tuple(tokenizer.encode("SI")),)
    assert tokenizer.decode(teapot.spellings[0]) == "TIP\u2c6dT"


def test_mistakes(manifest: Path, tmp_path: Path, letters: Tokenizer) -> None:
    letters.save(tmp_path)
    arpa = tmp_path / "words.arpa"
    arpa.write_text("\n".join(ARPA).replace("see", "shoe").replace("SEA", "thing"))
    result = run(arpa, "--tokenizer", tmp_path, "--out", tmp_path / "out")
    assert "expected a tokenizer of phones, found one that can spell 0 of 3" in str(
        result.exception
    )
    assert run(arpa, "--out", tmp_path / "out").exit_code == 2
    assert run(manifest, "--out", tmp_path / "out", "--tokenizer", tmp_path).exit_code == 2
    assert "expected to write to another file" in str(run(manifest, "--out", manifest).exception)
    assert not (tmp_path / "out").exists()
