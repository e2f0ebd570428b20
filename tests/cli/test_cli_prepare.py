from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from asr.cli.prepare import app
from asr.data.corpora import CORPORA
from asr.data.manifest import Utterance, read_manifest, write_manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for split in ("dev-clean", "mine"):
        folder = tmp_path / "LibriSpeech" / split / "1" / "2"
        folder.mkdir(parents=True)
        for index in range(2):
            soundfile.write(folder / f"1-2-000{index}.flac", np.full(1600, 0.1), 16000)
        (folder / "1-2.trans.txt").write_text("1-2-0000 ONE\n1-2-0001 TWO\n")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def test_summary_goes_to_standard_output_and_progress_to_standard_error(corpus: Path) -> None:
    result = run("librispeech", "--root", corpus, "--out", corpus / "out", "--jobs", 1)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{corpus}/out/{name}.jsonl: 2 utterances, 0.00 h, 1 speakers, 0 empty transcripts, "
        "0 broken"
        for name in ("dev-clean", "mine")
    ]
    assert "dev-clean" in result.stderr


def test_broken_item_fails_or_is_skipped(corpus: Path) -> None:
    broken = corpus / "LibriSpeech" / "mine" / "1" / "2" / "1-2-0001.flac"
    broken.write_text("no audio")
    result = run("librispeech", "--root", corpus, "--splits", "mine", "--out", corpus / "out")
    assert result.exit_code == 1
    assert f"mine: {broken}: expected FLAC" in result.stderr
    assert "found 1 broken of 2" in result.stderr
    assert result.stdout == ""
    assert not (corpus / "out" / "mine.jsonl").exists()
    result = run(
        "librispeech", "--root", corpus, "--splits", "mine,", "--out", corpus / "out",
        "--skip-broken",
    )  # fmt: skip
    assert result.exit_code == 0
    assert f"mine: {broken}: expected FLAC" in result.stderr
    assert "1 utterances" in result.stdout
    assert str(broken) in (corpus / "out" / "mine.broken.txt").read_text()


def test_nothing_good_fails_with_skip_broken_too(corpus: Path) -> None:
    folder = corpus / "LibriSpeech" / "mine" / "1" / "2"
    for path in folder.glob("*.flac"):
        path.write_text("no audio")
    result = run(
        "librispeech", "--root", corpus, "--splits", "mine", "--out", corpus, "--skip-broken"
    )
    assert result.exit_code == 1
    assert "none is good" in result.stderr


def test_missing_root_is_an_error_for_main(tmp_path: Path) -> None:
    result = run("librispeech", "--root", tmp_path / "gone", "--out", tmp_path)
    assert isinstance(result.exception, FileNotFoundError)
    assert "found no split" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--download",),
        ("--mirror", "http://127.0.0.1:9/"),
        ("--splits", ","),
        ("--splits", "mine", "--jobs", "0"),
    ],
)
def test_wrong_usage_is_exit_2(corpus: Path, arguments: tuple[str, ...]) -> None:
    result = run("librispeech", "--root", corpus, "--out", corpus / "out", *arguments)
    assert result.exit_code == 2
    assert not (corpus / "out").exists()


def test_download_of_what_is_there_needs_no_network(corpus: Path) -> None:
    result = run(
        "librispeech", "--root", corpus, "--splits", "dev-clean", "--download", "--mirror",
        "http://127.0.0.1:9/", "--out", corpus / "out",
    )  # fmt: skip
    assert result.exit_code == 0


def test_folder(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1600, 0.1), 16000)
    (tmp_path / "a.txt").write_text("hello")
    result = run("folder", tmp_path, "--out", tmp_path / "out", "--name", "mine")
    assert result.exit_code == 0
    assert [item.text for item in read_manifest(tmp_path / "out" / "mine.jsonl")] == ["hello"]
    result = run("folder", tmp_path, "--out", tmp_path / "out")
    assert (tmp_path / "out" / f"{tmp_path.name}.jsonl").is_file()


def test_table(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1600, 0.1), 16000)
    path = tmp_path / "t.csv"
    path.write_text("file,words\na.wav,hello\n")
    result = run(
        "table", path, "--out", tmp_path / "out", "--audio-column", "file", "--text-column", "words"
    )
    assert result.exit_code == 0
    assert [item.text for item in read_manifest(tmp_path / "out" / "t.jsonl")] == ["hello"]


def test_every_corpus_is_a_command_and_so_are_ones_own_recordings() -> None:
    commands = {item.name for item in app.registered_commands if item.name}
    assert commands >= CORPORA.keys()
    result = run("--help")
    for name in (*CORPORA, "librispeech-lm", "folder", "table", "join"):
        assert f" {name} " in result.stdout


@pytest.mark.parametrize("word", CORPORA)
def test_every_corpus_takes_the_options_of_the_contract(word: str) -> None:
    result = run(word, "--help")
    assert result.exit_code == 0
    assert CORPORA[word].description in " ".join(result.stdout.split())
    for option in ("--root", "--out", "--splits", "--jobs"):
        assert option in result.stdout


def test_a_corpus_that_nobody_may_download_says_where_it_is(tmp_path: Path) -> None:
    command = ("common_voice", "--root", tmp_path, "--splits", "test", "--out", tmp_path / "out")
    result = run(*command, "--download")
    assert result.exit_code == 2
    assert "https://commonvoice.mozilla.org" in result.stderr
    assert not list(tmp_path.iterdir())


def test_join(corpus: Path) -> None:
    out = corpus / "out"
    write_manifest(out / "a.jsonl", [_utterance(corpus, "1"), _utterance(corpus, "2")])
    write_manifest(corpus / "b.jsonl", [_utterance(corpus, "3")])
    result = run("join", out / "a.jsonl", corpus / "b.jsonl", "--out", out / "c.jsonl")
    assert result.exit_code == 0
    assert result.stdout == f"{out}/c.jsonl: 3 utterances, 0.01 h\n"
    assert read_manifest(out / "c.jsonl") == [_utterance(corpus, name) for name in "123"]
    joined = (out / "c.jsonl").read_bytes()
    assert joined.startswith((out / "a.jsonl").read_bytes())
    write_manifest(corpus / "b.jsonl", [_utterance(corpus, "2")])
    result = run("join", out / "a.jsonl", corpus / "b.jsonl", "--out", out / "c.jsonl")
    assert f"found '2' also in {out}/a.jsonl" in str(result.exception)
    assert (out / "c.jsonl").read_bytes() == joined
    result = run("join", out / "a.jsonl", "--out", out / "a.jsonl")
    assert "expected to write to another file than the inputs" in str(result.exception)


def _utterance(folder: Path, name: str) -> Utterance:
    return Utterance(
        id=name, audio_filepath=folder / f"{name}.wav", duration_seconds=12.3, text="x", speaker="s"
    )


def test_librispeech_lm(tmp_path: Path) -> None:
    (tmp_path / "librispeech-vocab.txt").write_text("A\nB\n")
    result = run("librispeech-lm", "--root", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}/out/librispeech-vocab.txt: 2 lines\n"
    result = run(
        "librispeech-lm", "--root", tmp_path, "--files", "librispeech-vocab.txt", "--download",
        "--mirror", "http://127.0.0.1:9/", "--out", tmp_path / "again",
    )  # fmt: skip
    assert result.exit_code == 0
    assert (tmp_path / "again" / "librispeech-vocab.txt").is_file()


@pytest.mark.parametrize(
    "arguments",
    [("--download",), ("--mirror", "http://127.0.0.1:9/"), ("--files", ",", "--download")],
)
def test_wrong_usage_of_librispeech_lm(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run("librispeech-lm", "--root", tmp_path, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
