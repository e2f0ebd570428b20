from dataclasses import replace

import pytest

from asr.training.config import TrainingConfig
from asr.training.schedule import learning_rate_factor, total_steps

_NOAM = TrainingConfig(
    epochs=3,
    learning_rate=1e-3,
    weight_decay=0.0,
    gradient_clip_norm=1.0,
    schedule="noam",
    warmup_steps=10,
    averaging="none",
)


@pytest.mark.parametrize(
    ("step", "factor"), [(1, 0.1), (5, 0.5), (10, 1.0), (40, 0.5), (90, 1 / 3)]
)
def test_noam_rises_and_falls_with_the_root(step: int, factor: float) -> None:
    assert learning_rate_factor(_NOAM, step, 1000) == pytest.approx(factor)


@pytest.mark.parametrize(("step", "factor"), [(5, 0.5), (10, 1.0), (60, 0.6), (110, 0.2)])
def test_cosine_ends_at_its_fraction(step: int, factor: float) -> None:
    cosine = replace(_NOAM, schedule="cosine", final_fraction=0.2)
    assert learning_rate_factor(cosine, step, 110) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"), [(3, 0, 21), (3, 20, 20), (3, 30, 21), (0, 30, 30)]
)
def test_training_ends_at_the_nearer_limit(epochs: int, max_steps: int, steps: int) -> None:
    assert total_steps(replace(_NOAM, epochs=epochs, max_steps=max_steps), 7) == steps


@pytest.mark.parametrize(("max_steps", "warns"), [(9, True), (10, False)])
def test_warm_up_beyond_the_end_is_logged(
    max_steps: int, caplog: pytest.LogCaptureFixture, *, warns: bool
) -> None:
    total_steps(replace(_NOAM, max_steps=max_steps), 7)
    assert ("ends at step 9, before its warm-up of 10 steps" in caplog.text) == warns
