from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.decoding.acoustic_model import AcousticModel
from asr.recognizer import load

NoiseMaker = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def acoustic_model(tiny_experiment: Path) -> AcousticModel:
    return load(tiny_experiment).acoustic_model


def test_a_frame_stands_for_the_middle_of_the_audio_it_is_made_of(
    acoustic_model: AcousticModel, noise: NoiseMaker
) -> None:
    waveform = torch.from_numpy(noise(0.5)).requires_grad_()
    features = acoustic_model.extractor(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
    frames = acoustic_model.model.encoder.subsampling(features.features)
    for frame in (0, 3):
        [gradient] = torch.autograd.grad(frames[0, frame].sum(), waveform, retain_graph=True)
        seen = gradient.nonzero()
        middle_seconds = (seen.min() + seen.max() + 1).item() / 2 / acoustic_model.sample_rate_hz
        start = acoustic_model.frame_offset_seconds + frame * acoustic_model.frame_seconds
        assert middle_seconds == pytest.approx(start + acoustic_model.frame_seconds / 2)


def test_log_probs_do_not_depend_on_the_batch(
    acoustic_model: AcousticModel, noise: NoiseMaker
) -> None:
    waveforms = [torch.from_numpy(noise(seconds)) for seconds in (1.0, 0.01, 2.5)]
    together = acoustic_model.log_probs(waveforms)
    assert [len(log_probs) for log_probs in together] == [
        acoustic_model.output_frames(len(waveform)) for waveform in waveforms
    ]
    assert together[1].shape == (0, together[0].shape[1])
    paths = acoustic_model.best_paths(waveforms)
    for waveform, log_probs, path in zip(waveforms, together, paths, strict=True):
        [alone] = acoustic_model.log_probs([waveform])
        assert torch.allclose(log_probs, alone, atol=1e-4)
        assert log_probs.argmax(dim=1).tolist() == path.labels[0].tolist()
        assert log_probs.exp().sum(dim=1).tolist() == pytest.approx([1.0] * len(log_probs))
