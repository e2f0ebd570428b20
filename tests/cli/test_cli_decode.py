import io
import json
import re
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
from asr.decoding.beam import BeamConfig, BeamSearch
from asr.decoding.hypothesis_file import read_hypotheses
from asr.decoding.longform import LongformConfig, LongformMethod
from asr.model.attention import chunked
from asr.ngram.model import load_ngram, train_ngram
from asr.recognizer import Recognizer, load
from asr.tokens.text_corpus import read_text_corpus
from asr.tokens.tokenizer import Tokenizer, train_tokenizer

RATE_HZ = 16000
NoiseMaker = Callable[..., NDArray[np.float32]]
DECODERS = pytest.mark.parametrize("decoder", ["greedy", "beam"])

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


def test_beam_search_with_nbest(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.jsonl"
    options = ["--decoder", "beam", "--beam-size", "5", "--nbest", "3"]
    assert run(tiny_experiment, audio / "c.flac", "--out", out, *options).exit_code == 0
    beam = BeamSearch(BeamConfig(beam_size=5, nbest=3))
    [expected] = load(tiny_experiment, decoder=beam).transcribe([audio / "c.flac"])
    [record] = lines(out)
    assert [item["text"] for item in record["nbest"]] == [item.text for item in expected.nbest]
    assert len(record["nbest"]) == 3
    assert set(record["nbest"][0]) == {"text", "score", "acoustic_score", "lm_score", "tokens"}
    assert (record["text"], record["score"]) == (expected.text, pytest.approx(expected.score))


def test_beam_search_of_size_eight_is_the_default(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    assert run(tiny_experiment, audio / "c.flac", "--out", out, "--decoder", "beam").exit_code == 0
    beam = BeamSearch(BeamConfig(beam_size=8))
    [expected] = load(tiny_experiment, decoder=beam).transcribe([audio / "c.flac"])
    [record] = lines(out)
    assert record["score"] == pytest.approx(expected.score)
    assert "nbest" not in record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam-size", "4"], "--beam-size: needs --decoder beam or --lm"),
        (["--nbest", "1"], "--nbest: needs --decoder beam or --lm"),
        (["--decoder", "beam", "--beam-size", "0"], "--beam-size"),
        (["--decoder", "beam", "--nbest", "9"], "at most --beam-size, which is 8"),
        (["--decoder", "beam", "--nbest", "2", "--format", "txt"], "needs --format jsonl"),
        (["--streaming"], "--streaming and --chunk-seconds need each other"),
        (["--chunk-seconds", "1"], "--streaming and --chunk-seconds need each other"),
        (["--left-seconds", "1"], "--left-seconds needs --streaming"),
        (["--streaming", "--chunk-seconds", "0"], "--chunk-seconds"),
        (["--streaming", "--chunk-seconds", "1", "--long", "whole"], "has no use with --streaming"),
        (["--long", "halves"], "--long"),
        (["--lm-weight", "1"], "--lm-weight: needs --lm"),
        (["--lm", "LM", "--lm-weight", "-1"], "--lm-weight"),
        (["--decoder", "beam", "--length-bonus", "1"], "--length-bonus: needs --lm with a folder"),
        (["--lm", "ARPA", "--length-bonus", "1"], "--length-bonus: needs --lm with a folder"),
        (["--decoder", "beam", "--word-score", "0"], "--word-score: needs --lm with an ARPA file"),
        (["--lm", "LM", "--word-score", "0"], "--word-score: needs --lm with an ARPA file"),
        (["--lexicon", "words.txt"], "--lexicon: needs --lm with an ARPA file"),
        (["--lm", "LM", "--lexicon", "words.txt"], "--lexicon: needs --lm with an ARPA file"),
        (["--decoder", "greedy", "--lm", "LM"], "--lm: needs --decoder beam"),
        (["--decoder", "greedy", "--lm", "ARPA"], "--lm: needs --decoder beam"),
        (["--lm", "LM", "--nbest", "9"], "at most --beam-size, which is 8"),
        (["--lm", "ARPA", "--nbest", "101"], "at most --beam-size, which is 100"),
    ],
)
def test_options_that_do_not_fit(options: list[str], message: str, tmp_path: Path) -> None:
    # Nothing of them is read.
    (tmp_path / "lm").mkdir()
    (tmp_path / "words.arpa").touch()
    paths = {"LM": tmp_path / "lm", "ARPA": tmp_path / "words.arpa"}
    given = [paths.get(option, option) for option in options]
    result = run("exp", "a.wav", "--out", tmp_path / "out" / "h", *given)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@DECODERS
def test_streaming(tiny_experiment: Path, audio: Path, tmp_path: Path, decoder: str) -> None:
    out = tmp_path / "hyp.jsonl"
    spans = ["--streaming", "--chunk-seconds", "0.33", "--left-seconds", "1.3"]
    result = run(tiny_experiment, audio, "--out", out, "--decoder", decoder, *spans)
    assert result.exit_code == 0, result.output
    loaded = load(tiny_experiment)
    recognizer = Recognizer(
        loaded.acoustic_model.under(chunked(8, 32)),
        loaded.tokenizer,
        decoder=BeamSearch(BeamConfig(beam_size=8)) if decoder == "beam" else None,
    )
    names = ("a.wav", "b/x.y.OGG", "b/z.mp3", "c.flac")
    expected = recognizer.transcribe([audio / name for name in names])
    assert [record["text"] for record in lines(out)] == [item.text for item in expected]
    messages = result.stderr.splitlines()
    assert messages[0] == "streaming: chunks of 0.320 s, left context 1.280 s"
    latency = r"latency: chunk 0\.320 s \+ look-ahead 0\.045 s \+ compute 0\.\d+ s \(95th per.* s\)"
    assert re.fullmatch(latency, messages[1])
    assert "decoded 4 of 4 inputs" in messages[2]


def test_streaming_with_all_of_the_left_context(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    spans = ["--streaming", "--chunk-seconds", "0.64"]
    result = run(tiny_experiment, bad, audio / "c.flac", "--out", out, *spans)
    assert result.exit_code == 1
    assert "left context all" in result.stderr
    assert "error: bad: " in result.stderr
    loaded = load(tiny_experiment)
    recognizer = Recognizer(loaded.acoustic_model.under(chunked(16)), loaded.tokenizer)
    [expected] = recognizer.transcribe([audio / "c.flac"])
    assert [record["text"] for record in lines(out)] == [expected.text]


@pytest.mark.parametrize("method", ["windows", "whole", "pauses"])
def test_long_recordings(
    tiny_experiment: Path, noise: NoiseMaker, tmp_path: Path, method: LongformMethod
) -> None:
    path, out = tmp_path / "long.wav", tmp_path / "hyp.jsonl"
    soundfile.write(path, noise(50.0), RATE_HZ, subtype="FLOAT")
    assert run(tiny_experiment, path, "--out", out, "--long", method).exit_code == 0
    longform = LongformConfig(method=method)
    [expected] = load(tiny_experiment, longform=longform).transcribe([path])
    [record] = lines(out)
    assert (record["text"], record["duration"]) == (expected.text, 50.0)


def test_text_format(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.txt"
    assert run(tiny_experiment, audio / "c.flac", "--out", out, "--format", "txt").exit_code == 0
    [expected] = load(tiny_experiment).transcribe([audio / "c.flac"])
    assert out.read_text() == f"c\t{expected.text}\n"


def test_a_file_for_each_recording(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(tiny_experiment, audio, "--out", out, "--format", "vtt").exit_code == 0
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.vtt", "b/x.y.vtt", "b/z.vtt", "c.vtt"]
    [expected] = load(tiny_experiment).transcribe([audio / "c.flac"])
    assert (out / "c.vtt").read_text().splitlines()[3:] == [expected.text]


def test_ctm_format(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "hyp.ctm"
    assert run(tiny_experiment, audio, "--out", out, "--format", "ctm").exit_code == 0
    rows = [line.split() for line in out.read_text().splitlines()]
    assert list(dict.fromkeys(row[0] for row in rows)) == ["a", "b/x.y", "b/z", "c"]
    [expected] = load(tiny_experiment).transcribe([audio / "c.flac"])
    assert " ".join(row[4] for row in rows if row[0] == "c") == expected.text


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


def test_help_gives_the_defaults() -> None:
    text = " ".join(run("--help").stdout.replace("│", " ").split())
    assert "[default: (8; 100 with a --lm of words)]" in text
