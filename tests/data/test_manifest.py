import json
from pathlib import Path

import pytest

from asr.data.json_lines import JsonLinesError
from asr.data.manifest import Utterance, read_manifest, write_manifest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    utterances = [
        Utterance(
            id="b",
            audio_filepath=tmp_path / "audio" / "b.flac",
            duration_seconds=1.5,
            text="zwei wörter",
            offset_seconds=0.25,
            speaker="7",
        ),
        Utterance(id="a", audio_filepath=Path("/elsewhere/a.flac"), duration_seconds=2.0),
    ]
    path = tmp_path / "m.jsonl"
    write_manifest(path, utterances)
    assert read_manifest(path) == utterances
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (first["audio_filepath"], first["offset"]) == ("audio/b.flac", 0.25)
    assert second == {"id": "a", "audio_filepath": "/elsewhere/a.flac", "duration": 2.0}


def test_what_other_tools_leave_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"audio_filepath": "clips/a.wav", "duration": 3}\n\n'
        '{"audio_filepath": "b.wav", "duration": 1, "text": null, "speaker": 12, "id": 5}\n'
    )
    first, second = read_manifest(path)
    assert (first.id, first.text, first.offset_seconds, first.speaker) == ("a", None, 0.0, None)
    assert first.audio_filepath == tmp_path / "clips" / "a.wav"
    assert (second.id, second.text, second.speaker) == ("5", None, "12")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"duration": 1', "one JSON object a line"),
        ('{"id": "\xff"}', "UTF-8"),
        ("[1]", "expected a JSON object, found list"),
        ('{"duration": 1}', r"field 'audio_filepath' of type str, found only \['duration'\]"),
        ('{"audio_filepath": "a"}', "field 'duration' of type int or float"),
        ('{"audio_filepath": "a", "duration": "1"}', "'duration' of type .* found '1'"),
        ('{"audio_filepath": "a", "duration": true}', "'duration' of type .* found True"),
        ('{"audio_filepath": "a", "duration": Infinity}', "'duration' of type .* found inf"),
        ('{"audio_filepath": "a", "duration": -1}', "seconds >= 0, found duration -1.0"),
        ('{"audio_filepath": "a", "duration": 1, "offset": -1}', "seconds >= 0, .* offset -1.0"),
        ('{"audio_filepath": "a", "duration": 1, "text": 3}', "'text' of type str, found 3"),
        (r'{"audio_filepath": "a", "duration": 1, "text": "\ud800"}', "'text' of type str, found"),
        ('{"audio_filepath": "x/first.wav", "duration": 1}', "'first' again .first at .*:1.; give"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    good = b'{"audio_filepath": "first.wav", "duration": 1}\n\n'
    path.write_bytes(good + line.encode("latin-1") + b"\n")
    with pytest.raises(JsonLinesError, match=rf"m\.jsonl:3: .*{message}") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `asr prepare` first"):
        read_manifest(tmp_path / "none.jsonl")
