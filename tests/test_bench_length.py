"""Tables and plots of the cost of length."""

import json
from pathlib import Path

import pytest

from tools.bench_length import _grown, main


@pytest.mark.parametrize(
    ("first", "second", "third"), [(0, 0, 0), (100, 100, 200), (100, 400, 1600), (1, 9, 36)]
)
def test_growth_is_between_linear_and_quadratic(first: int, second: int, third: int) -> None:
    before = [{"seconds": 1, "bytes": first}, {"seconds": 2, "bytes": second}]
    assert _grown(before, "bytes", 4) == pytest.approx(third)


def test_cells_make_a_table_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        {
            "word": "full",
            "seconds": seconds,
            "measured": seconds < 100,
            "peak_bytes": gib * 2**30,
            "wall_seconds": seconds / 10,
        }
        for seconds, gib in ((10, 0), (60, 1), (600, 80))
    ]
    path = tmp_path / "cells.json"
    path.write_text(json.dumps(cells), encoding="utf-8")
    plots = tmp_path / "length"
    monkeypatch.setattr("sys.argv", ["bench_length", "--table", str(path), "--plots", str(plots)])
    main()
    row = "| full | 0.00 GiB, 1.0 s | 1.00 GiB, 6.0 s | [80.00 GiB, 60.0 s] |"
    assert row in capsys.readouterr().out.splitlines()
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "length-memory.png",
        "length-time.png",
    }
