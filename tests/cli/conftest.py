"""Audio that the commands are given."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.decode_runs import RATE_HZ
from tests.conftest import NoiseMaker


@pytest.fixture
def audio(tmp_path: Path, noise: NoiseMaker) -> Path:
    """A folder of audio of several formats, rates and lengths."""
    folder = tmp_path / "audio"
    (folder / "b").mkdir(parents=True)
    soundfile.write(folder / "c.flac", noise(1.0, seed=1), RATE_HZ)
    soundfile.write(folder / "a.wav", noise(2.0, seed=2, rate_hz=8000), 8000)
    stereo = np.stack([noise(1.5, seed=3, rate_hz=48000)] * 2, axis=1)
    soundfile.write(folder / "b" / "x.y.OGG", stereo, 48000, format="OGG")
    soundfile.write(folder / "b" / "z.mp3", noise(3.0, seed=4), RATE_HZ)
    (folder / "notes.txt").write_text("not audio")
    return folder
