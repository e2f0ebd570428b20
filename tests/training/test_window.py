import pytest
from lightning.fabric import Fabric

from asr.training.window import MetricsWindow


def test_row_by_hand() -> None:
    window = MetricsWindow(Fabric(accelerator="cpu", devices=1), sums=(10.0, 2.0), seconds=100.0)
    window.add(nats=20.0, labels=8, auxiliary=6.0, batches=4, amount=30.0, room=40.0)
    window.add(gradient_norm=5.0, steps=2, consistency=2.0, waited_seconds=25.0)
    row = window.close(speed="speed")
    # 30 nats over 10 labels; the window has been open for 100 s and some.
    assert row == {
        "loss": 3.0,
        "auxiliary_loss": 1.5,
        "gradient_norm": 2.5,
        "speed": pytest.approx(0.3, rel=0.05),
        "padding": 0.25,
        "data_wait": pytest.approx(0.25, rel=0.05),
        "consistency_loss": 0.5,
    }
    assert window.reduced() == [0.0] * 10
