from pathlib import Path

import pytest
import torch

from asr.inference.torch_model import TorchAcousticModel
from asr.recognizer import load
from tests.conftest import NoiseMaker


@pytest.fixture(scope="module")
def acoustic_model(tiny_experiment: Path) -> TorchAcousticModel:
    loaded = load(tiny_experiment).acoustic_model
    assert isinstance(loaded, TorchAcousticModel)
    return loaded


def test_a_frame_stands_for_the_middle_of_the_audio_it_is_made_of(
    acoustic_model: TorchAcousticModel, noise: NoiseMaker
) -> None:
    waveform = torch.from_numpy(noise(0.5)).requires_grad_()
    features = acoustic_model.frontend(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
    frames = acoustic_model.model.encoder.subsampling(features.features)
    for frame in (0, 3):
        [gradient] = torch.autograd.grad(frames[0, frame].sum(), waveform, retain_graph=True)
        seen = gradient.nonzero()
        middle_seconds = (seen.min() + seen.max() + 1).item() / 2 / acoustic_model.sample_rate_hz
        start = acoustic_model.frame_offset_seconds + frame * acoustic_model.frame_seconds
        assert middle_seconds == pytest.approx(start + acoustic_model.frame_seconds / 2)


def test_posteriors_do_not_depend_on_the_batch(
    acoustic_model: TorchAcousticModel, noise: NoiseMaker
) -> None:
    waveforms = [torch.from_numpy(noise(seconds)) for seconds in (1.0, 0.01, 2.5)]
    together = acoustic_model.posteriors(waveforms)
    lengths = together.lengths.tolist()
    assert lengths == [acoustic_model.output_frames(len(waveform)) for waveform in waveforms]
    assert lengths[1] == 0
    for waveform, frames, log_probs in zip(waveforms, lengths, together.log_probs, strict=True):
        alone = acoustic_model.posteriors([waveform])
        assert alone.lengths.tolist() == [frames]
        assert torch.allclose(log_probs[:frames], alone.log_probs[0, :frames], atol=1e-4)
        sums = log_probs[:frames].exp().sum(dim=1)
        assert sums.tolist() == pytest.approx([1.0] * frames)
