from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.ctc.decoder import Decoder
from asr.features.frontend import Frontend
from asr.features.log_mel import LogMelConfig
from asr.features.normalisation import Normalisation
from asr.inference.acoustic_model import Posteriors
from asr.inference.long_recordings import LongformConfig, LongformMethod
from asr.inference.torch_model import TorchAcousticModel
from asr.recognizer import Recognizer, load
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import NoiseMaker

RATE_HZ = 16000


class LocalModel(TorchAcousticModel):
    """Labels from the subsampled features at 8 kHz: no frame sees more than a few neighbours."""

    def __init__(self, experiment: Path, audio: NDArray[np.float32]) -> None:
        config = LogMelConfig(sample_rate_hz=8000, mel_bins=40)
        normalisation = Normalisation.load(experiment / "normalisation.json")
        loaded = load(experiment).acoustic_model
        assert isinstance(loaded, TorchAcousticModel)
        super().__init__(Frontend(config, normalisation), loaded.model)
        self.longest_samples = 0
        self.typical = self.subsampled(torch.from_numpy(audio)).mean(dim=1)

    @torch.inference_mode()
    def subsampled(self, waveform: Tensor) -> Tensor:
        """(1, time, feature) of what comes before the encoder's blocks."""
        features = self.frontend(waveform.unsqueeze(0), torch.tensor([len(waveform)])).features
        subsampled: Tensor = self.model.encoder.subsampling(features)
        return subsampled[:, : self.output_frames(len(waveform))]

    def posteriors(self, waveforms: Sequence[Tensor]) -> Posteriors:
        rows = []
        for waveform in waveforms:
            self.longest_samples = max(self.longest_samples, len(waveform))
            scores = 20 * (self.subsampled(waveform)[0] - self.typical)
            rows.append(scores[:, : self.output_size].log_softmax(dim=1))
        return Posteriors(
            log_probs=pad_sequence(rows, batch_first=True),
            lengths=torch.tensor([len(row) for row in rows]),
        )


@pytest.mark.parametrize("method", ["windows", "pauses"])
@pytest.mark.slow
def test_long_recording_in_bounded_memory(
    *,
    tiny_experiment: Path,
    letters: Tokenizer,
    noise: NoiseMaker,
    tmp_path: Path,
    decoder: Decoder[Any],
    method: LongformMethod,
) -> None:
    path = tmp_path / "five_minutes.wav"
    half_minute = noise(30.0, rate_hz=8000)
    soundfile.write(path, np.tile(half_minute, 10), 8000)
    local = LocalModel(tiny_experiment, half_minute)
    longform = LongformConfig(method=method)
    recognizer = Recognizer(local, letters, longform=longform, decoder=decoder)
    [hypothesis] = recognizer.transcribe([path], batch_seconds=90.0)
    assert local.longest_samples <= 30.1 * 8000

    one_pass = Recognizer(
        local, letters, longform=LongformConfig(limit_seconds=1000.0), decoder=decoder
    )
    [expected] = one_pass.transcribe([path])
    assert local.longest_samples == 300 * 8000
    assert len(hypothesis.words) > 80
    assert hypothesis.words[-1].end_seconds > 290
    assert hypothesis.text == expected.text
    assert hypothesis.score == pytest.approx(expected.score)
    for one, other in zip(hypothesis.words, expected.words, strict=True):
        assert (one.start_seconds, one.end_seconds) == (other.start_seconds, other.end_seconds)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert hypothesis.duration_seconds == 300.0


def test_long_recordings_and_short_ones_together(tiny_experiment: Path, noise: NoiseMaker) -> None:
    loaded = load(tiny_experiment)
    config = LongformConfig(limit_seconds=3.0, window_seconds=3.0, context_seconds=0.5)
    recognizer = Recognizer(loaded.acoustic_model, loaded.tokenizer, longform=config)
    inputs = [(noise(seconds, seed=2), RATE_HZ) for seconds in (2.0, 7.0, 1.0)]
    found = recognizer.transcribe(inputs)
    assert [item.duration_seconds for item in found] == [2.0, 7.0, 1.0]
    assert found[1].words[-1].end_seconds > 6.5
    assert found[0].text == loaded.transcribe(inputs[:1])[0].text
    # How many windows share a batch changes nothing.
    assert recognizer.transcribe(inputs, batch_seconds=1.0)[1].text == found[1].text


def test_failure_inside_a_long_recording(
    tiny_experiment: Path, letters: Tokenizer, noise: NoiseMaker, tmp_path: Path
) -> None:
    samples = noise(60.0, rate_hz=8000)
    samples[-1] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    [outcome] = Recognizer(LocalModel(tiny_experiment, samples[:8000]), letters).outcomes([path])
    assert "NaN" in str(outcome.error)
    assert outcome.hypothesis is None


def test_audio_above_the_limit_goes_through_the_model_in_windows(
    tiny_experiment: Path, noise: NoiseMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LongformConfig(limit_seconds=3.0, window_seconds=2.0, context_seconds=0.5)
    recognizer = load(tiny_experiment, longform=config)
    model, seen = recognizer.acoustic_model, list[float]()
    posteriors = model.posteriors

    def noted(waveforms: Sequence[Tensor]) -> Posteriors:
        seen.append(max(len(waveform) for waveform in waveforms) / RATE_HZ)
        return posteriors(waveforms)

    monkeypatch.setattr(model, "posteriors", noted)
    longest = []
    for seconds in (3.0, 3.1):
        recognizer.transcribe([(noise(seconds), RATE_HZ)])
        longest.append(max(seen))
        seen.clear()
    assert longest == [3.0, pytest.approx(2.0, abs=0.05)]


def test_log_probs_of_a_long_recording_are_those_of_one_pass(
    tiny_experiment: Path, letters: Tokenizer, noise: NoiseMaker
) -> None:
    samples = noise(60.0, rate_hz=8000)
    local = LocalModel(tiny_experiment, samples[: 30 * 8000])
    whole = local.posteriors([torch.from_numpy(samples)]).log_probs[0]
    local.longest_samples = 0
    [found] = Recognizer(local, letters).log_probs([(samples, 8000)])
    assert local.longest_samples <= 40 * 8000
    torch.testing.assert_close(found, whole, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("broken", ["model", "search"])
def test_an_error_of_the_program_is_no_fault_of_the_recording(
    *, tiny_experiment: Path, noise: NoiseMaker, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    config = LongformConfig(limit_seconds=3.0, window_seconds=2.0, context_seconds=0.5)
    recognizer = load(tiny_experiment, longform=config)

    def fail(*_: Any) -> None:  # noqa: ANN401
        raise ValueError("a mistake in the program")

    if broken == "model":
        monkeypatch.setattr(recognizer.acoustic_model, "posteriors", fail)
    else:
        monkeypatch.setattr(recognizer.decoder, "step", fail)
    with pytest.raises(ValueError, match="a mistake in the program"):
        list(recognizer.outcomes([(noise(4.0), RATE_HZ)]))
