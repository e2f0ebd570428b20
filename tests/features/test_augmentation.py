import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from asr.features.augmentation import (
    AugmentationConfig,
    WaveformAugment,
    coloured_noise,
    low_pass,
)

RATE_HZ = 16000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(frequency_hz: float, *, seconds: float = 1.0) -> Tensor:
    times_seconds = torch.arange(int(RATE_HZ * seconds), dtype=torch.float64) / RATE_HZ
    return torch.sin(2 * math.pi * frequency_hz * times_seconds).float()


def peak_hz(waveform: Tensor) -> float:
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform))).abs()
    return int(spectrum.argmax()) * RATE_HZ / len(waveform)


def power_db(waveform: Tensor) -> float:
    return 10 * math.log10(waveform.square().mean().item())


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_faster_is_shorter_and_higher(speed: float) -> None:
    augment = WaveformAugment(AugmentationConfig(speed_factors=(speed,)), sample_rate_hz=RATE_HZ)
    fast = augment(tone(1000), generator=seeded(0))
    assert len(fast) == math.ceil(RATE_HZ / speed - 1e-6)
    assert peak_hz(fast) == pytest.approx(1000 * speed, abs=2)
    assert power_db(fast) == pytest.approx(power_db(tone(1000)), abs=0.1)
    assert augment.duration_factor(0) == pytest.approx(1 / speed)


def test_duration_factor_foretells_the_length_and_all_speeds_occur() -> None:
    speeds = (0.9, 1.0, 1.1)
    augment = WaveformAugment(AugmentationConfig(speed_factors=speeds), sample_rate_hz=RATE_HZ)
    seen = set()
    for seed in range(20):
        length = len(augment(tone(300), generator=seeded(seed)))
        assert length == pytest.approx(RATE_HZ * augment.duration_factor(seed), abs=1)
        seen.add(length)
    assert len(seen) == len(speeds)


def test_without_settings_the_waveform_stays() -> None:
    augment = WaveformAugment(AugmentationConfig(), sample_rate_hz=RATE_HZ)
    assert torch.equal(augment(tone(440), generator=seeded(1)), tone(440))
    assert augment.duration_factor(1) == 1.0


def test_noise_has_the_ratio_asked_for() -> None:
    config = AugmentationConfig(noise_probability=1.0, noise_snr_db=(10.0, 10.0))
    augment = WaveformAugment(config, sample_rate_hz=RATE_HZ)
    for seed in range(5):
        noise = augment(tone(440), generator=seeded(seed)) - tone(440)
        assert power_db(tone(440)) - power_db(noise) == pytest.approx(10, abs=0.01)


def test_silence_gets_no_noise() -> None:
    config = AugmentationConfig(noise_probability=1.0, noise_snr_db=(0.0, 0.0))
    noisy = WaveformAugment(config, sample_rate_hz=RATE_HZ)(torch.zeros(99), generator=seeded(0))
    assert torch.equal(noisy, torch.zeros(99))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_falls_by_its_exponent(exponent: float) -> None:
    noise = coloured_noise(100_000, exponent=exponent, sample_rate_hz=RATE_HZ, generator=seeded(0))
    assert noise.shape == (100_000,)
    power = torch.fft.rfft(noise[:65536]).abs().square()
    octaves = [power[512 * 2**octave : 1024 * 2**octave].mean().log2() for octave in range(5)]
    slope = (octaves[-1] - octaves[0]).item() / 4
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_low_pass_keeps_below_and_removes_above() -> None:
    kept = low_pass(tone(3500), cutoff_hz=4000, sample_rate_hz=RATE_HZ)
    assert torch.allclose(kept[400:-400], tone(3500)[400:-400], atol=1e-3)
    removed = low_pass(tone(4200), cutoff_hz=4000, sample_rate_hz=RATE_HZ)
    assert power_db(removed[400:-400]) < -70
    half = low_pass(tone(4000), cutoff_hz=4000, sample_rate_hz=RATE_HZ)
    assert power_db(half[400:-400]) - power_db(tone(4000)) == pytest.approx(-6, abs=0.2)


@pytest.mark.parametrize("length", [1, 320, 1728, 1729, 5000])
def test_low_pass_equals_a_plain_convolution(length: int) -> None:
    waveform = torch.randn(length, generator=seeded(0))
    impulse = torch.zeros(1001)
    impulse[500] = 1.0
    response = low_pass(impulse, cutoff_hz=3000, sample_rate_hz=RATE_HZ)
    plain = torch.nn.functional.conv1d(
        waveform.view(1, 1, -1), response.flip(0).view(1, 1, -1), padding=500
    )
    filtered = low_pass(waveform, cutoff_hz=3000, sample_rate_hz=RATE_HZ)
    assert torch.allclose(filtered, plain.view(-1), atol=1e-5)


def test_gain_lies_within_its_bounds_and_varies() -> None:
    augment = WaveformAugment(AugmentationConfig(gain_db=(-6.0, 3.0)), sample_rate_hz=RATE_HZ)
    gains = [
        power_db(augment(tone(440), generator=seeded(seed))) - power_db(tone(440))
        for seed in range(30)
    ]
    assert -6.01 < min(gains) < -4
    assert 1 < max(gains) < 3.01


def test_probability_is_the_share_that_changes() -> None:
    config = AugmentationConfig(
        noise_probability=0.3,
        noise_snr_db=(5.0, 20.0),
        band_limit_probability=0.0,
        band_limit_hz=(100.0, 200.0),
    )
    augment = WaveformAugment(config, sample_rate_hz=RATE_HZ)
    waveform = tone(3000, seconds=0.01)
    changed = sum(
        not torch.equal(augment(waveform, generator=seeded(seed)), waveform) for seed in range(100)
    )
    assert 15 < changed < 45


def test_result_depends_on_the_seed_alone() -> None:
    config = AugmentationConfig(
        speed_factors=(0.9, 1.1),
        noise_probability=0.5,
        noise_snr_db=(5.0, 20.0),
        band_limit_probability=0.5,
        band_limit_hz=(3000.0, 7000.0),
        gain_db=(-6.0, 6.0),
    )
    augment = WaveformAugment(config, sample_rate_hz=RATE_HZ)
    first = augment(tone(440), generator=seeded(8))
    torch.rand(3)
    assert torch.equal(augment(tone(440), generator=seeded(8)), first)
    assert not torch.equal(augment(tone(440), generator=seeded(10)), first)


@pytest.mark.parametrize("speed", [0.4, 2.5, 1.005, -1.0])
def test_speed_out_of_range_is_an_error(speed: float) -> None:
    with pytest.raises(ValueError, match=f"in steps of 0.01, found {speed}"):
        AugmentationConfig(speed_factors=(1.0, speed))


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_probability_out_of_range_is_an_error(probability: float) -> None:
    with pytest.raises(ValueError, match="noise_probability"):
        AugmentationConfig(noise_probability=probability, noise_snr_db=(0.0, 9.0))
    with pytest.raises(ValueError, match="band_limit_probability"):
        AugmentationConfig(band_limit_probability=probability, band_limit_hz=(3000.0, 4000.0))


def test_probability_without_bounds_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected noise_snr_db with a probability of 0\.5"):
        AugmentationConfig(noise_probability=0.5)
    with pytest.raises(ValueError, match=r"expected band_limit_hz with a probability of 0\.5"):
        AugmentationConfig(band_limit_probability=0.5)


def test_bounds_the_wrong_way_round_are_an_error() -> None:
    with pytest.raises(ValueError, match="noise_snr_db as"):
        AugmentationConfig(noise_snr_db=(20.0, 5.0))
    with pytest.raises(ValueError, match="band_limit_hz as"):
        AugmentationConfig(band_limit_hz=(4000.0, 3000.0))
    with pytest.raises(ValueError, match="gain_db as"):
        AugmentationConfig(gain_db=(3.0, -3.0))


def test_ranges_need_a_probability() -> None:
    for name in ("noise_snr_db", "band_limit_hz"):
        with pytest.raises(ValueError, match=f"expected a probability with {name}"):
            TypeAdapter(AugmentationConfig).validate_python({name: (1000.0, 2000.0)})


def test_cutoff_outside_the_band_is_an_error() -> None:
    with pytest.raises(ValueError, match="band_limit_hz > 0"):
        AugmentationConfig(band_limit_hz=(0.0, 3000.0))
    config = AugmentationConfig(band_limit_probability=1.0, band_limit_hz=(3000.0, 8000.0))
    with pytest.raises(ValueError, match="below half the rate, 8000 Hz, found 8000 Hz"):
        WaveformAugment(config, sample_rate_hz=RATE_HZ)


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
