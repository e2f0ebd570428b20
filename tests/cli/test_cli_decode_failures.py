"""`asr decode` with broken files, clashes and wrong usage."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.cli.decode import collect_inputs
from asr.data.manifest import Utterance, write_manifest
from asr.recognizer import Recognizer
from asr.transcripts.hypothesis_file import read_hypotheses
from tests.cli.decode_runs import RATE_HZ, lines, run
from tests.conftest import NoiseMaker


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


def test_older_result_stays_where_nothing_can_be_decoded(
    tiny_experiment: Path, tmp_path: Path
) -> None:
    out = tmp_path / "hyp.jsonl"
    out.write_text("older\n")
    result = run(tiny_experiment, tmp_path / "none.wav", "--out", out)
    assert result.exit_code == 1
    assert "named above; nothing is written" in result.stderr
    assert out.read_text() == "older\n"


def test_inputs_are_not_written_over(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    write_manifest(
        manifest, [Utterance(id="c", audio_filepath=audio / "c.flac", duration_seconds=1.0)]
    )
    before = manifest.read_text(), (audio / "c.flac").read_bytes()
    for out in (manifest, audio / "c.flac"):
        result = run(tiny_experiment, manifest, "--out", out)
        assert "expected to write to another file than the inputs" in str(result.exception)
    assert (manifest.read_text(), (audio / "c.flac").read_bytes()) == before


def test_memory_that_runs_out_is_one_line(
    tiny_experiment: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes\nmore")

    monkeypatch.setattr(Recognizer, "outcomes", lambda *_, **__: map(outcomes, [0]))
    result = run(tiny_experiment, audio / "c.flac", "--out", tmp_path / "hyp.jsonl")
    assert isinstance(result.exception, MemoryError)
    assert "lower --batch-seconds or --beam-size" in str(result.exception)


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
    "arguments", [["exp"], ["exp", "a.wav", "--out", "h", "--decoder", "magic"]]
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
    with pytest.raises(
        ValueError, match=r"found 'c' for .*audio/c.flac and .*b/c.wav; rename one, or give"
    ):
        collect_inputs([str(audio / "c.flac"), str(other)], standard_input=[])


def test_clash_within_a_folder(audio: Path) -> None:
    (audio / "c.wav").touch()
    with pytest.raises(ValueError, match=r"c\.flac and .*c\.wav; rename one, or give"):
        collect_inputs([str(audio)], standard_input=[])


def test_folders_with_the_same_names_clash(audio: Path) -> None:
    with pytest.raises(ValueError, match="expected a different id for each input"):
        collect_inputs([str(audio), str(audio)], standard_input=[])


def test_an_empty_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").touch()
    with pytest.raises(ValueError, match="expected audio to decode"):
        collect_inputs([str(tmp_path / "m.jsonl")], standard_input=[])


def test_unknown_device(tiny_experiment: Path, audio: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out.jsonl", "--device", "toaster")
    result = run(tiny_experiment, audio / "c.flac", *options)
    assert "expected a device that torch can use, found 'toaster'" in str(result.exception)


def test_a_transcript_that_the_format_cannot_hold_fails_alone(
    tiny_experiment: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_batch = Recognizer.decode_batch

    def shorten(recognizer: Recognizer, waveforms: Any) -> Any:  # noqa: ANN401
        found = decode_batch(recognizer, waveforms)
        return [
            replace(item, duration_seconds=0.0) if item.duration_seconds == 1.0 else item
            for item in found
        ]

    monkeypatch.setattr(Recognizer, "decode_batch", shorten)
    out = tmp_path / "out"
    result = run(tiny_experiment, audio, "--out", out, "--format", "srt")
    assert result.exit_code == 1
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.srt", "b/x.y.srt", "b/z.srt"]
    assert "error: c: expected audio of at least a millisecond a word" in result.stderr
    assert "found 1 that cannot be decoded, named above; the others are in" in result.stderr
