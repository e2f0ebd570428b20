import logging

import pytest

from asr.training.progress import ProgressDisplay


def test_progress_tells_the_time_left_and_rates_in_percent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter([0.0, 600.0])
    monkeypatch.setattr("asr.training.progress.time.monotonic", lambda: next(times))
    display = ProgressDisplay(step=100, last_step=400, visible=True)
    with caplog.at_level(logging.INFO):
        # 100 steps in ten minutes, 200 to go.
        display.show({"epoch": 2, "step": 200, "loss": 1.5, "learning_rate": 0.001})
        display.show({"epoch": 2, "step": 200, "validation_loss": 2.0, "validation_wer": 0.125})
    assert caplog.messages == [
        "epoch 2  step 200/400  loss 1.500  rate 1.00e-03  left 20 min",
        "epoch 2  step 200  validation loss 2.000  WER 12.50%",
    ]
