"""`asr decode` as a user calls it: inputs, decoders and formats."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

from asr.cli.decode_streaming import streamed_outcomes
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.data.manifest import Utterance, write_manifest
from asr.inference import streaming
from asr.inference.long_recordings import LongformConfig, LongformMethod
from asr.inference.streaming import RecognitionStream
from asr.model.attention import chunked
from asr.recognizer import Recognizer, load
from asr.transcripts.hypothesis_file import read_hypotheses
from tests.cli.decode_runs import RATE_HZ, lines, run
from tests.conftest import NoiseMaker

DECODERS = pytest.mark.parametrize("decoder", ["greedy", "beam"])


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


def test_blank_penalty(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    lengths = []
    for penalty in (-9, 9):
        out = tmp_path / f"{penalty}.jsonl"
        options = ["--decoder", "beam", "--nbest", "3", "--blank-penalty", str(penalty)]
        assert run(tiny_experiment, audio / "c.flac", "--out", out, *options).exit_code == 0
        [record] = lines(out)
        lengths.append(len(record["text"]))
        for item in record["nbest"]:
            parts = item["acoustic_score"] + item["blank_penalty_score"]
            assert item["score"] == pytest.approx(parts)
        [read] = read_hypotheses(out).values()
        assert [item.blank_penalty_score for item in read.nbest] == [
            item["blank_penalty_score"] for item in record["nbest"]
        ]
        assert all(set(item.lm_scores) == {"lm_score"} for item in read.nbest)
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam-size", "4"], "--beam-size: needs --decoder beam or --lm"),
        (["--nbest", "1"], "--nbest: needs --decoder beam or --lm"),
        (["--blank-penalty", "1"], "--blank-penalty: needs --decoder beam or --lm"),
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


def test_help_gives_the_defaults() -> None:
    text = " ".join(run("--help").stdout.replace("│", " ").split())
    assert "[default: (8; 100 with a --lm of words)]" in text


def test_latency_is_the_median_and_the_95th_percentile(
    tiny_experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcomes(*_: Any, times: streaming.ComputeTimes) -> list[RecognitionStream]:  # noqa: ANN401
        for hundredths in range(101):
            times.add(hundredths / 100)
        return []

    monkeypatch.setattr(streaming, "stream_outcomes", outcomes)
    recognizer = load(tiny_experiment)
    list(streamed_outcomes(recognizer, [], chunk_seconds=0.32, left_seconds=None))
    assert "compute 0.5000 s (95th percentile 0.9500 s)" in capsys.readouterr().err


def test_text_on_standard_output(tiny_experiment: Path, audio: Path) -> None:
    names = ["c.flac", "a.wav", "b/z.mp3"]
    result = run(tiny_experiment, *(audio / name for name in names))
    assert result.exit_code == 0, result.output
    expected = load(tiny_experiment).transcribe([audio / name for name in names])
    assert result.stdout.splitlines() == [item.text for item in expected]
    assert "decoded 3 of 3 inputs" in result.stderr


def test_line_of_what_cannot_be_decoded_is_empty(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_text("not audio")
    inputs = [audio / "c.flac", tmp_path / "bad.wav", audio / "a.wav"]
    result = run(tiny_experiment, *inputs)
    assert result.exit_code == 1
    first, empty, last = result.stdout.split("\n")[:-1]
    assert first
    assert empty == ""
    assert last
    assert "the others are on standard output" in result.stderr
    # A format names its transcripts, and leaves out what has none.
    result = run(tiny_experiment, *inputs, "--format", "txt")
    assert [line.partition("\t")[0] for line in result.stdout.splitlines()] == ["c", "a"]


def test_formats_on_standard_output(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    for name in ("jsonl", "ctm"):
        out = tmp_path / f"out.{name}"
        run(tiny_experiment, audio, "--out", out, "--format", name)
        result = run(tiny_experiment, audio, "--format", name)
        if name == "ctm":
            assert result.stdout == out.read_text()
        else:
            found = [json.loads(line) for line in result.stdout.splitlines()]
            assert [item["text"] for item in found] == [item["text"] for item in lines(out)]
            assert all(Path(item["audio_filepath"]).is_file() for item in found)
    run(tiny_experiment, audio / "c.flac", "--out", tmp_path / "srt", "--format", "srt")
    result = run(tiny_experiment, audio / "c.flac", "--format", "srt")
    assert result.stdout == (tmp_path / "srt" / "c.srt").read_text()
    result = run("exp", audio / "c.flac", audio / "a.wav", "--format", "srt")
    assert result.exit_code == 2
    assert "needs --out for 2 recordings" in " ".join(result.stderr.replace("│", " ").split())


def test_nbest_on_standard_output_needs_a_format() -> None:
    result = run("exp", "a.wav", "--decoder", "beam", "--nbest", "2")
    assert result.exit_code == 2
    message = " ".join(result.stderr.replace("│", " ").split())
    assert "--nbest: needs --format jsonl, not the text alone" in message
