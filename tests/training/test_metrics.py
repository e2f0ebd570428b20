import logging
from pathlib import Path

import pytest
from lightning.fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from asr.training.metrics import COLUMNS, MetricsWindow, MetricsWriter, ProgressDisplay


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


def test_row_by_hand() -> None:
    window = MetricsWindow(
        Fabric(accelerator="cpu", devices=1), sums={"nats": 10.0, "labels": 2.0}, seconds=100.0
    )
    window.add(nats=20.0, labels=8, auxiliary=6.0, batches=4, amount=30.0, room=40.0)
    window.add(gradient_norm=5.0, steps=2, consistency=2.0, waited_seconds=25.0)
    row = window.close(speed="tokens_per_second")
    # 30 nats over 10 labels; the window has been open for 100 s and some.
    assert row == {
        "loss": 3.0,
        "auxiliary_loss": 1.5,
        "gradient_norm": 2.5,
        "tokens_per_second": pytest.approx(0.3, rel=0.05),
        "padding": 0.25,
        "data_wait": pytest.approx(0.25, rel=0.05),
        "consistency_loss": 0.5,
    }
    assert len(window.reduced()) == 10
    assert not any(window.reduced().values())


def test_progress_tells_the_time_left_and_rates_in_percent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter([0.0, 600.0])
    monkeypatch.setattr("asr.training.metrics.time.monotonic", lambda: next(times))
    display = ProgressDisplay(step=100, last_step=400, visible=True)
    with caplog.at_level(logging.INFO):
        # 100 steps in ten minutes, 200 to go.
        display.show({"epoch": 2, "step": 200, "loss": 1.5, "learning_rate": 0.001})
        display.show({"epoch": 2, "step": 200, "validation_loss": 2.0, "validation_wer": 0.125})
    assert caplog.messages == [
        "epoch 2  step 200/400  loss 1.500  rate 1.00e-03  left 20 min",
        "epoch 2  step 200  validation loss 2.000  WER 12.50%",
    ]
