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


def test_measured_cells_make_a_table_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = tmp_path / "cells.json"
    small = "--words full --seconds 1 2 4 --set model.layers=1 --set model.width=16"
    limits = ["--limit-minutes", "0", "--json", str(cells), "--plots", str(tmp_path / "length")]
    monkeypatch.setattr("sys.argv", ["bench_length", *small.split(), *limits])
    main()
    measured = [cell["measured"] for cell in json.loads(cells.read_text(encoding="utf-8"))]
    assert measured == [True, True, False]
    printed = capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "length-memory.png",
        "length-time.png",
    }
    monkeypatch.setattr("sys.argv", ["bench_length", "--table", str(cells)])
    main()
    table = capsys.readouterr().out
    assert table in printed
    full = table.splitlines()[2]
    assert full.startswith("| full | ")
    assert full.count("[") == 1
