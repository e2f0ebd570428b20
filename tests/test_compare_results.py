"""The table that compare.sh prints."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import Utterance
from asr.recognizer import load
from tests.conftest import NoiseMaker
from tools.compare_results import main
from tools.joined_errors import group_by_length, joined_errors


def _record(
    folder: Path,
    row: str,
    seed: int,
    errors: list[int],
    *,
    joined: bool = True,
    speed: float | None = 80.0,
) -> None:
    record = {
        "row": row,
        "seed": seed,
        "settings": f"model={row}",
        "commit": "c",
        "parameters": 2_000_000,
        "hours": 0.5,
        "audio_seconds_per_second": speed,
        "errors": {"test": [[each, 10] for each in errors]},
        "joined": {
            "test": {"30": [[4, 80]] * 9, "120": [[seed, 10]], "600": "too long"} if joined else {}
        },
    }
    (folder / f"{row}-{seed}.json").write_text(json.dumps(record), encoding="utf-8")


def test_table_pools_seeds_and_compares_the_same_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        _record(tmp_path, "base", seed, [seed] * 40)
        _record(tmp_path, "worse", seed, [seed + 3] * 40)
    # Too short to have a speed.
    _record(tmp_path, "alike", 1, [1] * 40, speed=None)
    command = ["compare_results.py", "table", str(tmp_path), "--against", "base"]
    monkeypatch.setattr("sys.argv", command)
    main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows, joined = table[2:5], table[7:]
    cells = [[row[0], row[1].partition(" ")[0], *row[2:4]] for row in rows]
    assert cells == [
        ["alike", "10.00", "10.00", "+0.00"],
        ["base", "15.00", "10.00, 20.00", ""],
        ["worse", "45.00", "40.00, 50.00", "+30.00"],
    ]
    assert rows[0][4] == "1.0000"
    assert rows[2][4].endswith("*")
    assert rows[0][5:] == ["2.00 M", "", "0.50"]
    assert rows[2][5:] == ["2.00 M", "80", "1.00"]
    assert joined[0] == ["alike", "10.00", "5.00", "10.00", "refused"]
    assert joined[1] == ["base", "15.00", "5.00", "15.00", "refused"]


def test_table_of_chosen_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in ("base", "a", "b"):
        _record(tmp_path, row, 1, [1] * 40, joined=False)
    command = ["compare_results.py", "table", str(tmp_path), "--against", "base"]
    monkeypatch.setattr("sys.argv", [*command, "--rows", "base", "b"])
    main()
    rows = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "10.00" in line]
    assert sorted(rows) == ["b", "base"]


def test_record_of_other_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(tmp_path, "base", 1, [1] * 40)
    command = ["compare_results.py", "check", str(tmp_path / "base-1.json"), "--settings"]
    monkeypatch.setattr("sys.argv", [*command, "model=base"])
    main()
    monkeypatch.setattr("sys.argv", [*command, "model=other"])
    with pytest.raises(SystemExit, match=r"made with 'model=other', found 'model=base'; remove it"):
        main()


def test_rows_without_joined_recordings_have_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(tmp_path, "base", 1, [1] * 40, joined=False)
    monkeypatch.setattr(
        "sys.argv", ["compare_results.py", "table", str(tmp_path), "--against", "base"]
    )
    main()
    printed = capsys.readouterr().out
    assert "| base | 10.00" in printed
    assert "joined" not in printed


def test_groups_reach_the_length_and_a_short_rest_is_left_out() -> None:
    utterances = [
        Utterance(id=str(n), audio_filepath=Path("a.wav"), duration_seconds=seconds)
        for n, seconds in enumerate([4.0, 5.0, 3.0, 12.0, 4.9])
    ]
    groups = [[item.id for item in group] for group in group_by_length(utterances, seconds=10)]
    assert groups == [["0", "1", "2"], ["3"]]
    groups = [[item.id for item in group] for group in group_by_length(utterances, seconds=9.5)]
    assert groups[-1] == ["4"]


def test_joined_utterances_equal_one_recording_of_them(
    tiny_experiment: Path, noise: NoiseMaker, tmp_path: Path
) -> None:
    parts = [noise(3.0, seed=seed) for seed in range(2)]
    for number, part in enumerate(parts):
        soundfile.write(tmp_path / f"{number}.wav", part, 16000, subtype="FLOAT")
    recognizer = load(tiny_experiment)
    [whole] = recognizer.transcribe([(np.concatenate(parts), 16000)])
    first, _, second = whole.text.partition(" ")
    utterances = [
        Utterance(id=str(n), audio_filepath=tmp_path / f"{n}.wav", duration_seconds=3.0, text=text)
        for n, text in enumerate([first, second])
    ]
    words = len(whole.text.split())
    assert words > 1
    assert joined_errors(tiny_experiment, utterances, seconds=6) == [[0, words]]
