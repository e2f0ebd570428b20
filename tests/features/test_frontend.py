import pytest
import torch
import torchaudio

from asr.features.frontend import Frontend
from asr.features.log_mel import LogMel, LogMelConfig
from asr.features.normalisation import Normalisation

_UNIT = Normalisation(mean=(0.0,) * 80, standard_deviation=(1.0,) * 80, frames=1)


def test_log_mel_equals_kaldi() -> None:
    waveform = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    ours = LogMel(LogMelConfig())(waveform, torch.tensor([16000]))
    kaldi = torchaudio.compliance.kaldi.fbank(
        waveform * 32768, num_mel_bins=80, dither=0.0, sample_frequency=16000
    )
    assert ours.lengths.tolist() == [kaldi.shape[0]]
    torch.testing.assert_close(ours.features[0], kaldi, atol=1e-3, rtol=0)


@pytest.mark.parametrize("normalisation", ["global", "utterance"])
def test_features_do_not_depend_on_padding(normalisation: str) -> None:
    config = LogMelConfig(normalisation=normalisation)  # type: ignore[arg-type]
    frontend = Frontend(config, _UNIT if normalisation == "global" else None)
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(1, 5000, generator=generator)
    padded = torch.cat([waveform, 1e3 * torch.randn(1, 3000, generator=generator)], dim=1)
    alone = frontend(waveform, torch.tensor([5000]))
    batched = frontend(padded, torch.tensor([5000]))
    assert batched.lengths.tolist() == alone.lengths.tolist() == [29]
    torch.testing.assert_close(batched.features[:, :29], alone.features[:, :29])
    assert not batched.features[:, 29:].any()


def test_utterance_normalisation_gives_zero_mean_and_unit_variance() -> None:
    frontend = Frontend(LogMelConfig(normalisation="utterance"), None)
    waveform = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    features = frontend(waveform, torch.tensor([16000, 8000])).features[1, :48]
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(80), atol=1e-3, rtol=0)


def test_clip_shorter_than_a_window_has_no_frame() -> None:
    features = Frontend(LogMelConfig(), _UNIT)(torch.zeros(1, 100), torch.tensor([100]))
    assert features.lengths.tolist() == [0]
    assert features.features.shape[2] == 80


def test_silence_is_finite() -> None:
    features = Frontend(LogMelConfig(), _UNIT)(torch.zeros(1, 1600), torch.tensor([1600]))
    assert features.features.isfinite().all()


def test_frames_agrees_with_the_frontend() -> None:
    config = LogMelConfig()
    for samples, frames in ((0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16000, 98)):
        lengths = LogMel(config)(torch.zeros(1, max(samples, 1)), torch.tensor([samples])).lengths
        assert lengths.tolist() == [frames]
        assert config.frames(samples) == config.frames_of_seconds(samples / 16000) == frames
        assert config.frames(torch.tensor([samples])).tolist() == [frames]


@pytest.mark.parametrize(
    ("window_seconds", "seen", "awaited"), [(0.025, 720, 720), (0.010, 480, 480), (0.005, 400, 480)]
)
def test_spans_of_frames(window_seconds: float, seen: int, awaited: int) -> None:
    """Of three windows that overlap, meet, and leave gaps."""
    config = LogMelConfig(window_seconds=window_seconds)
    assert [config.start_sample(frame) for frame in (0, 1, 3)] == [0, 160, 480]
    assert (config.samples_seen(3), config.samples_awaited(3)) == (seen, awaited)
    assert config.frames(seen) == 3
    assert config.frames(seen - 1) == 2
    assert config.seconds(640) == 0.04


@pytest.mark.parametrize("key", ["window_seconds", "hop_seconds"])
def test_window_and_hop_are_whole_samples(key: str) -> None:
    with pytest.raises(ValueError, match=f"expected {key} to be a whole number of samples"):
        LogMelConfig(**{key: 0.0250001})  # type: ignore[arg-type]


def test_statistics_must_fit_the_config() -> None:
    with pytest.raises(ValueError, match="without statistics"):
        Frontend(LogMelConfig(), None)
    with pytest.raises(ValueError, match="with statistics"):
        Frontend(LogMelConfig(normalisation="utterance"), _UNIT)
    with pytest.raises(ValueError, match="expected statistics of 40 features, found 80"):
        Frontend(LogMelConfig(mel_bins=40), _UNIT)


def test_slices_of_long_audio_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9000, 4000])
    whole = LogMel(LogMelConfig())(waveform, lengths).features
    monkeypatch.setattr("asr.features.log_mel._SLICE_FRAMES", 7)
    torch.testing.assert_close(LogMel(LogMelConfig())(waveform, lengths).features, whole)


def test_global_statistics_are_taken_out_of_each_bin() -> None:
    config = LogMelConfig(mel_bins=4)
    mean, deviation = (1.0, -2.0, 3.0, 0.0), (2.0, 4.0, 0.5, 1.0)
    statistics = Normalisation(mean=mean, standard_deviation=deviation, frames=9)
    waveform = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    raw = LogMel(config)(waveform, torch.tensor([4000])).features
    found = Frontend(config, statistics)(waveform, torch.tensor([4000])).features
    expected = (raw - torch.tensor(mean)) / torch.tensor(deviation)
    torch.testing.assert_close(found[:, : raw.shape[1]], expected)
