import torch

from asr.features.augmentation import AugmentationConfig, WaveformAugment
from asr.features.extractor import FeatureExtractor, FeaturesConfig, LogMel
from asr.features.normalisation import Normalisation
from asr.features.spec_augment import SpecAugment, SpecAugmentConfig


def test_time_masks_hide_the_expected_share_of_an_utterance_however_it_is_padded() -> None:
    torch.manual_seed(0)
    config = SpecAugmentConfig(
        frequency_masks=0,
        frequency_width_bins=0,
        time_masks=1,
        time_width_frames=10,
        time_fraction=1.0,
    )
    augmented = SpecAugment(config)(torch.ones(4000, 200, 1), torch.full((4000,), 40))
    hidden = (augmented[:, :40, 0] == 0).float()
    # Widths are uniform on 0 .. 10: the mean is 5 of 40 frames.
    torch.testing.assert_close(hidden.mean(), torch.tensor(0.125), atol=0.005, rtol=0)
    assert hidden.sum(dim=1).max() == 10
    assert augmented[:, 40:].all()


def test_global_statistics_are_taken_out_of_each_bin() -> None:
    config = FeaturesConfig(mel_bins=4)
    mean, deviation = (1.0, -2.0, 3.0, 0.0), (2.0, 4.0, 0.5, 1.0)
    statistics = Normalisation(mean=mean, standard_deviation=deviation, frames=9)
    waveform = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    raw = LogMel(config)(waveform, torch.tensor([4000])).features
    found = FeatureExtractor(config, statistics)(waveform, torch.tensor([4000])).features
    expected = (raw - torch.tensor(mean)) / torch.tensor(deviation)
    torch.testing.assert_close(found[:, : raw.shape[1]], expected)


def _low_share(waveform: torch.Tensor, below_hz: float) -> float:
    power = torch.fft.rfft(waveform).abs().square()
    return float(power[: int(below_hz * len(waveform) / 16000)].sum() / power.sum())


def test_colour_of_the_noise_and_cutoff_vary_between_utterances() -> None:
    tone = torch.sin(torch.arange(16000) * 0.3)
    white = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    noisy = AugmentationConfig(noise_probability=1.0, noise_snr_db=(0.0, 0.0))
    limited = AugmentationConfig(band_limit_probability=1.0, band_limit_hz=(1000.0, 7000.0))
    for config, waveform, below_hz in ((noisy, tone, 500.0), (limited, white, 4000.0)):
        augment = WaveformAugment(config, sample_rate_hz=16000)
        shares = []
        for seed in range(20):
            found = augment(waveform, generator=torch.Generator().manual_seed(seed))
            shares.append(_low_share(found - waveform if config is noisy else found, below_hz))
        # White noise has a sixteenth of its power below 500 Hz, and half of it below 4 kHz.
        assert max(shares) > 0.9
        assert min(shares) < 0.7
