from typing import Any

import pytest
from pydantic import ValidationError

from asr.training.config import TrainingConfig

_RIGHT: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "gradient_clip_norm": 1.0,
    "schedule": "noam",
    "warmup_steps": 10,
    "averaging": "none",
}


def test_right_values_pass() -> None:
    assert TrainingConfig(**_RIGHT).epochs == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs or max_steps"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"averaging": "ema"}, "ema_decay"),
        ({"ema_decay": 0.9}, "ema_decay"),
        ({"averaging": "checkpoints"}, "averaged_epochs"),
        ({"averaged_epochs": 3}, "averaged_epochs"),
        ({"final_fraction": 0.1}, "final_fraction"),
        ({"optimizer": "muon", "strategy": "fsdp"}, "needs whole matrices"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"accumulate": 0}, "accumulate"),
        ({"precision": "float16"}, "precision"),
        ({"warmup_steps": 0}, "warmup_steps"),
        ({"learning_rat": 1.0}, "learning_rat"),
    ],
)
def test_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(**(_RIGHT | change))
