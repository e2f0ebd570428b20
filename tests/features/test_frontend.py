import pytest
import torch
import torchaudio

from asr.features.frontend import FeatureExtractor, FeaturesConfig, LogMel
from asr.features.normalisation import Normalisation

_UNIT = Normalisation(mean=(0.0,) * 80, standard_deviation=(1.0,) * 80, frames=1)


def test_log_mel_equals_kaldi() -> None:
    waveform = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    ours = LogMel(FeaturesConfig())(waveform, torch.tensor([16000]))
    kaldi = torchaudio.compliance.kaldi.fbank(
        waveform * 32768, num_mel_bins=80, dither=0.0, sample_frequency=16000
    )
    assert ours.lengths.tolist() == [kaldi.shape[0]]
    torch.testing.assert_close(ours.features[0], kaldi, atol=1e-3, rtol=0)


@pytest.mark.parametrize("normalisation", ["global", "utterance"])
def test_features_do_not_depend_on_padding(normalisation: str) -> None:
    config = FeaturesConfig(normalisation=normalisation)  # type: ignore[arg-type]
    extractor = FeatureExtractor(config, _UNIT if normalisation == "global" else None)
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(1, 5000, generator=generator)
    padded = torch.cat([waveform, 1e3 * torch.randn(1, 3000, generator=generator)], dim=1)
    alone = extractor(waveform, torch.tensor([5000]))
    batched = extractor(padded, torch.tensor([5000]))
    assert batched.lengths.tolist() == alone.lengths.tolist() == [29]
    torch.testing.assert_close(batched.features[:, :29], alone.features[:, :29])
    assert not batched.features[:, 29:].any()


def test_utterance_normalisation_gives_zero_mean_and_unit_variance() -> None:
    extractor = FeatureExtractor(FeaturesConfig(normalisation="utterance"), None)
    waveform = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    features = extractor(waveform, torch.tensor([16000, 8000])).features[1, :48]
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(80), atol=1e-3, rtol=0)


def test_clip_shorter_than_a_window_has_no_frame() -> None:
    features = FeatureExtractor(FeaturesConfig(), _UNIT)(torch.zeros(1, 100), torch.tensor([100]))
    assert features.lengths.tolist() == [0]
    assert features.features.shape[2] == 80


def test_silence_is_finite() -> None:
    features = FeatureExtractor(FeaturesConfig(), _UNIT)(torch.zeros(1, 1600), torch.tensor([1600]))
    assert features.features.isfinite().all()


def test_frames_agrees_with_the_extractor() -> None:
    config = FeaturesConfig()
    for samples in (0, 399, 400, 16000, 16100):
        lengths = LogMel(config)(torch.zeros(1, max(samples, 1)), torch.tensor([samples])).lengths
        assert lengths.tolist() == [config.frames(samples / 16000)]


@pytest.mark.parametrize("key", ["window_seconds", "hop_seconds"])
def test_window_and_hop_are_whole_samples(key: str) -> None:
    with pytest.raises(ValueError, match=f"expected {key} to be a whole number of samples"):
        FeaturesConfig(**{key: 0.0250001})  # type: ignore[arg-type]


def test_statistics_must_fit_the_config() -> None:
    with pytest.raises(ValueError, match="without statistics"):
        FeatureExtractor(FeaturesConfig(), None)
    with pytest.raises(ValueError, match="with statistics"):
        FeatureExtractor(FeaturesConfig(normalisation="utterance"), _UNIT)
    with pytest.raises(ValueError, match="expected statistics of 40 mel bins, found 80"):
        FeatureExtractor(FeaturesConfig(mel_bins=40), _UNIT)


def test_slices_of_long_audio_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9000, 4000])
    whole = LogMel(FeaturesConfig())(waveform, lengths).features
    monkeypatch.setattr("asr.features.frontend._SLICE_FRAMES", 7)
    torch.testing.assert_close(LogMel(FeaturesConfig())(waveform, lengths).features, whole)


def test_global_statistics_are_taken_out_of_each_bin() -> None:
    config = FeaturesConfig(mel_bins=4)
    mean, deviation = (1.0, -2.0, 3.0, 0.0), (2.0, 4.0, 0.5, 1.0)
    statistics = Normalisation(mean=mean, standard_deviation=deviation, frames=9)
    waveform = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    raw = LogMel(config)(waveform, torch.tensor([4000])).features
    found = FeatureExtractor(config, statistics)(waveform, torch.tensor([4000])).features
    expected = (raw - torch.tensor(mean)) / torch.tensor(deviation)
    torch.testing.assert_close(found[:, : raw.shape[1]], expected)
