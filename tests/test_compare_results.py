"""The table that compare.sh prints."""

import json
from pathlib import Path

import pytest

from tools.compare_results import _holm, main


def _record(folder: Path, row: str, seed: int, errors: list[int]) -> None:
    record = {
        "row": row,
        "seed": seed,
        "commit": "c",
        "parameters": 2_000_000,
        "hours": 0.5,
        "audio_seconds_per_second": 80.0,
        "errors": {"test": [[each, 10] for each in errors]},
    }
    (folder / f"{row}-{seed}.json").write_text(json.dumps(record), encoding="utf-8")


def test_holm_by_hand() -> None:
    adjusted = _holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert adjusted == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})


def test_table_pools_seeds_and_compares_the_same_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        _record(tmp_path, "base", seed, [seed] * 40)
        _record(tmp_path, "worse", seed, [seed + 3] * 40)
    _record(tmp_path, "alike", 1, [1] * 40)
    command = ["compare_results.py", "table", str(tmp_path), "--against", "base"]
    monkeypatch.setattr("sys.argv", command)
    main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = [[row[0], row[1].partition(" ")[0], *row[2:4]] for row in rows]
    assert cells == [
        ["alike", "10.00", "10.00", "+0.00"],
        ["base", "15.00", "10.00, 20.00", ""],
        ["worse", "45.00", "40.00, 50.00", "+30.00"],
    ]
    assert rows[0][4] == "1.0000"
    assert rows[2][4].endswith("*")
    assert rows[2][5:] == ["2.00 M", "80", "1.00"]
