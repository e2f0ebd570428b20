import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.inference.streaming import ComputeTimes, stream_outcomes
from asr.recognizer import load

RATE_HZ = 16000


def test_quantiles_of_compute_times() -> None:
    times = ComputeTimes()
    assert math.isnan(times.quantile(0.5))
    for seconds in (0.4, 0.1, 0.2, 0.3, 0.5):
        times.add(seconds)
    assert times.quantile(0.5) == pytest.approx(0.3)
    assert times.quantile(0.95) == pytest.approx(0.48)


def test_each_input_is_a_stream_of_its_own(
    tiny_experiment: Path, noise: Callable[..., NDArray[np.float32]], tmp_path: Path
) -> None:
    open_stream = partial(load(tiny_experiment).stream, chunk_seconds=0.32, left_seconds=0.64)
    same, other = (noise(2.0), RATE_HZ), (noise(3.0, seed=4), RATE_HZ)
    times = ComputeTimes()
    outcomes = list(
        stream_outcomes(open_stream, [same, tmp_path / "none.wav", other, same], times=times)
    )
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]
    assert isinstance(outcomes[1].error, FileNotFoundError)
    first, _, second, last = (outcome.hypothesis for outcome in outcomes)
    assert first == last != second
    assert first is not None
    assert first.duration_seconds == 2.0
    assert 0 < times.quantile(0.0) <= times.quantile(1.0)
