from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from asr.training.metrics import COLUMNS, MetricsWriter


def _rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_rows_beyond_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsWriter(path, tmp_path / "events", rows=0, step=0) as writer:
        for step in (1, 2, 3):
            writer.write({"step": step, "loss": 0.5 * step})
    with path.open("a") as stream:
        stream.write("4,torn")
    with MetricsWriter(path, tmp_path / "events", rows=2, step=2) as writer:
        writer.write({"step": 3, "validation_wer": 0.25})
        assert writer.rows == 3
    lines = _rows(path)
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert lines[3].split(",")[COLUMNS.index("validation_wer")] == "0.25"
    assert list((tmp_path / "events").iterdir())


def test_lost_rows_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MetricsWriter(tmp_path / "metrics.csv", tmp_path / "events", rows=5, step=9):
        pass
    assert "5 of 5 earlier rows are gone" in caplog.text


def test_tensorboard_has_each_number_at_its_step(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "m.csv", tmp_path / "events", rows=0, step=0) as writer:
        for step in (10, 20):
            writer.write({"step": step, "epoch": 1, "loss": 50.0 / step})
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == {"epoch", "loss"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 5.0), (20, 2.5)]
