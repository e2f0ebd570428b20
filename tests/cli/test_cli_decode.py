import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from asr.cli.decode import collect_inputs, decode
from asr.data.manifest import Utterance, write_manifest
from asr.decoding.hypothesis_file import read_hypotheses
from asr.decoding.lexicon import LexiconConfig
from asr.recognizer import Recognizer, load

RATE_HZ = 16000
NoiseMaker = Callable[..., NDArray[np.float32]]

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(decode)


def run(*arguments: str | Path | int, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def audio(tmp_path: Path, noise: NoiseMaker) -> Path:
    """A folder of audio of several formats, rates and lengths."""
    folder = tmp_path / "audio"
    (folder / "b").mkdir(parents=True)
    soundfile.write(folder / "c.flac", noise(1.0, seed=1), RATE_HZ)
    soundfile.write(folder / "a.wav", noise(2.0, seed=2, rate_hz=8000), 8000)
    stereo = np.stack([noise(1.5, seed=3, rate_hz=48000)] * 2, axis=1)
    soundfile.write(folder / "b" / "x.y.OGG", stereo, 48000, format="OGG")
    soundfile.write(folder / "b" / "z.mp3", noise(3.0, seed=4), RATE_HZ)
    (folder / "notes.txt").write_text("not audio")
    return folder


def test_folder(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = audio / "hyp.jsonl"
    result = run(tiny_experiment, audio, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    records = lines(out)
    assert [record["id"] for record in records] == ["a", "b/x.y", "b/z", "c"]
    assert [record["audio_filepath"] for record in records] == [
        "a.wav",
        "b/x.y.OGG",
        "b/z.mp3",
        "c.flac",
    ]
    assert [record["duration"] for record in records] == pytest.approx(
        [2.0, 1.5, 3.0, 1.0], abs=0.1
    )
    assert all(record["text"] and record["words"] for record in records)
    assert "decoded 4 of 4 inputs: 7.5 s of audio in" in result.stderr
    assert "real-time factor 0." in result.stderr
    assert not out.with_name("hyp.jsonl.part").exists()


def test_transcripts_are_those_of_the_recognizer(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    run(tiny_experiment, audio / "c.flac", audio / "a.wav", "--out", out, "--batch-seconds", 1)
    found = read_hypotheses(out)
    expected = load(tiny_experiment).transcribe([audio / "c.flac", audio / "a.wav"])
    assert list(found) == ["c", "a"]
    assert [item.text for item in found.values()] == [item.text for item in expected]


def test_paths_on_standard_input(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.jsonl"
    stdin = f"{audio / 'c.flac'}\n\n{audio / 'a.wav'}\n"
    assert run(tiny_experiment, "-", "--out", out, stdin=stdin).exit_code == 0
    assert list(read_hypotheses(out)) == ["c", "a"]


def test_manifest(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    manifest = audio / "manifest.jsonl"
    utterances = [
        Utterance(id="late", audio_filepath=audio / "a.wav", duration_seconds=1, offset_seconds=1),
        Utterance(id="early", audio_filepath=audio / "a.wav", duration_seconds=1.0),
    ]
    write_manifest(manifest, utterances)
    out = tmp_path / "hyp.jsonl"
    assert run(tiny_experiment, manifest, "--out", out).exit_code == 0
    found = read_hypotheses(out)
    assert list(found) == ["late", "early"]
    assert found["late"].text != found["early"].text
    assert [item.duration_seconds for item in found.values()] == [1.0, 1.0]


def test_text_format(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.txt"
    assert run(tiny_experiment, audio / "c.flac", "--out", out, "--format", "txt").exit_code == 0
    [expected] = load(tiny_experiment).transcribe([audio / "c.flac"])
    assert out.read_text() == f"c\t{expected.text}\n"


def test_bad_files_are_named_and_the_others_decoded(
    tiny_experiment: Path, audio: Path, noise: NoiseMaker, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.flac").touch()
    (bad / "text.flac").write_text("this is text")
    whole = (audio / "c.flac").read_bytes()
    (bad / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    mp3 = (audio / "b" / "z.mp3").read_bytes()
    (bad / "truncated.mp3").write_bytes(mp3[: len(mp3) // 2])
    ogg = (audio / "b" / "x.y.OGG").read_bytes()
    (bad / "short.ogg").write_bytes(ogg[: len(ogg) // 2])
    with_nan = noise(1.0)
    with_nan[100] = np.nan
    soundfile.write(bad / "nan.wav", with_nan, RATE_HZ, subtype="FLOAT")
    (bad / "truncated.mp3").rename(bad / "cut.mp3")
    out = tmp_path / "hyp.jsonl"
    arguments = [audio / "c.flac", *sorted(bad.iterdir()), tmp_path / "none.wav", audio / "a.wav"]
    result = run(tiny_experiment, *arguments, "--out", out)
    assert result.exit_code == 1
    assert list(read_hypotheses(out)) == ["c", "a"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    named = sorted(line.split(": ")[1] for line in errors[:-1])
    assert named == ["cut", "empty", "nan", "none", "short", "text", "truncated"]
    assert all("expected" in line and "found" in line and ";" in line for line in errors)
    assert "found 7 that cannot be decoded" in errors[-1]
    assert "Traceback" not in result.output


def test_too_short_clip_is_no_failure(
    tiny_experiment: Path, noise: NoiseMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "click.wav", noise(0.05), RATE_HZ)
    out = tmp_path / "hyp.jsonl"
    assert run(tiny_experiment, tmp_path / "click.wav", "--out", out).exit_code == 0
    [record] = lines(out)
    assert (record["text"], record["words"], record["score"]) == ("", [], 0.0)
    assert any("click.wav" in message and "0.050 s" in message for message in caplog.messages)


def test_nothing_is_lost_when_decoding_stops(
    tiny_experiment: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_batch = Recognizer.decode_batch
    calls = 0

    def fail_later(recognizer: Recognizer, waveforms: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return decode_batch(recognizer, waveforms)

    monkeypatch.setattr(Recognizer, "decode_batch", fail_later)
    out = tmp_path / "hyp.jsonl"
    result = run(tiny_experiment, audio, "--out", out, "--batch-seconds", 1)
    assert result.exit_code != 0
    assert not out.exists()
    # The two longest went first.
    assert list(read_hypotheses(tmp_path / "hyp.jsonl.part")) == ["b/z", "a"]
    assert f"stopped: 2 of 4 inputs are decoded, in {out}.part" in result.stderr


def test_output_that_cannot_be_written_is_found_before_loading(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    soundfile.write(tmp_path / "a.wav", np.zeros(100), RATE_HZ)
    out = tmp_path / "file" / "hyp.jsonl"
    result = run(tmp_path / "no-experiment", tmp_path / "a.wav", "--out", out)
    assert isinstance(result.exception, OSError)
    assert "expected to write" in str(result.exception)


def test_experiment_that_is_none_leaves_no_output(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "hyp.jsonl"
    result = run(tmp_path / "no-experiment", audio, "--out", out)
    assert isinstance(result.exception, FileNotFoundError)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["exp"], ["exp", "a.wav"], ["exp", "a.wav", "--out", "h", "--decoder", "magic"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("stdin", ["", "\n\n"])
def test_empty_list_of_files(stdin: str) -> None:
    with pytest.raises(ValueError, match="expected audio to decode, found no file name"):
        collect_inputs(["-"], standard_input=io.StringIO(stdin))


def test_folder_without_audio(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected audio files \(.flac.* below"):
        collect_inputs([str(tmp_path)], standard_input=[])


def test_clash_of_ids_names_both(audio: Path) -> None:
    other = audio / "b" / "c.wav"
    with pytest.raises(ValueError, match=r"found 'c' for .*audio/c.flac and .*b/c.wav; give"):
        collect_inputs([str(audio / "c.flac"), str(other)], standard_input=[])


def test_folders_with_the_same_names_clash(audio: Path) -> None:
    with pytest.raises(ValueError, match="expected a different id for each input"):
        collect_inputs([str(audio), str(audio)], standard_input=[])


def test_an_empty_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").touch()
    with pytest.raises(ValueError, match="expected audio to decode"):
        collect_inputs([str(tmp_path / "m.jsonl")], standard_input=[])


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


def test_language_model(tiny_experiment: Path, audio: Path, arpa: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.jsonl"
    result = run(tiny_experiment, audio, "--out", out, "--lm", arpa, "--word-score", 20)
    assert result.exit_code == 0, result.output
    found = read_hypotheses(out)
    assert list(found) == ["a", "b/x.y", "b/z", "c"]
    words = [word.word for hypothesis in found.values() for word in hypothesis.words]
    assert set(words) == {"FOX", "DOG"}
    assert all(item.text == " ".join(word.word for word in item.words) for item in found.values())
    # A tax on words leaves none.
    arguments = ("--lm", arpa, "--word-score", -1000, "--lm-weight", 1)
    assert run(tiny_experiment, audio, "--out", out, *arguments).exit_code == 0
    assert {item.text for item in read_hypotheses(out).values()} == {""}


def test_lexicon(tiny_experiment: Path, audio: Path, arpa: Path, tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text("DOG\n")
    out = tmp_path / "hyp.jsonl"
    arguments = ("--lm", arpa, "--lexicon", tmp_path / "lexicon.txt", "--word-score", 20)
    assert run(tiny_experiment, audio / "c.flac", "--out", out, *arguments).exit_code == 0
    assert {word.word for word in read_hypotheses(out)["c"].words} == {"DOG"}


def test_language_model_that_is_none(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text("no language model")
    result = run(tiny_experiment, audio, "--out", tmp_path / "h", "--lm", tmp_path / "lm.arpa")
    assert isinstance(result.exception, ValueError)
    assert "expected an ARPA file" in str(result.exception)


@pytest.mark.parametrize(
    ("option", "value"), [("--lexicon", "words.txt"), ("--lm-weight", "1"), ("--word-score", "0")]
)
def test_settings_of_a_language_model_without_one(option: str, value: str) -> None:
    result = run("exp", "a.wav", "--out", "h", option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert "needs --lm" in result.stderr


def test_help_gives_the_defaults_of_the_lexicon_decoder() -> None:
    text = " ".join(run("--help").stdout.replace("│", " ").split())
    assert f"multiplied by. [default: ({LexiconConfig().lm_weight:g})]" in text
    assert f"for each word. [default: ({LexiconConfig().word_score:g})]" in text
