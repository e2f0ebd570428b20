"""Waveform augmentation: speed, noise, band limit and gain, each drawn from a seeded generator."""

import math
from fractions import Fraction

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.audio_library import Resample
from asr.features.spec_augment import SpecAugmentConfig
from asr.schema import STRICT

# Below this the noise is white: a brown spectrum would spend its power where no feature is.
_LOWEST_COLOUR_HZ = 50.0
_BROWN_EXPONENT = 2.0
# One period of noise; it is stationary, so its repetition tells a model nothing, and it costs less.
_NOISE_PERIOD_SAMPLES = 65536
_FILTER_TAPS = 321
_FILTER_BLOCK_SAMPLES = 2048


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AugmentationConfig:
    """Augmentation of waveforms and features, in training only: the section `[augmentation]`."""

    speed_factors: tuple[float, ...] = ()
    """Speeds drawn with equal chance, e.g. 0.9, 1.0, 1.1; above 1 is faster, shorter and higher."""
    noise_probability: float | None = Field(default=None, ge=0, le=1)
    """Share of the utterances that get noise."""
    noise_snr_db: tuple[float, float] | None = None
    """Lowest and highest signal-to-noise ratio, in dB."""
    band_limit_probability: float | None = Field(default=None, ge=0, le=1)
    """Share of the utterances that lose the band above a random cutoff."""
    band_limit_hz: tuple[float, float] | None = None
    """Lowest and highest cutoff, in Hz."""
    gain_db: tuple[float, float] | None = None
    """Lowest and highest gain, in dB."""
    spec_augment: SpecAugmentConfig | None = None
    """Masks on the features; None leaves them whole."""

    def __post_init__(self) -> None:
        for factor in self.speed_factors:
            if not (0.5 <= factor <= 2 and math.isclose(factor, round(factor, 2))):
                raise ValueError(
                    f"expected speed_factors within 0.5 .. 2 in steps of 0.01, found {factor}; "
                    "give for example [0.9, 1.0, 1.1]"
                )
        for name in ("noise_snr_db", "band_limit_hz", "gain_db"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"expected {name} as [lowest, highest], found {list(bounds)}")
        if self.band_limit_hz is not None and self.band_limit_hz[0] <= 0:
            raise ValueError(f"expected band_limit_hz > 0, found {self.band_limit_hz[0]}")
        for probability, name in (
            (self.noise_probability, "noise_snr_db"),
            (self.band_limit_probability, "band_limit_hz"),
        ):
            bounds = getattr(self, name)
            if probability and bounds is None:
                raise ValueError(
                    f"expected {name} with a probability of {probability}, found none; give "
                    f"{name} as [lowest, highest]"
                )
            if probability is None and bounds is not None:
                raise ValueError(
                    f"expected a probability with {name} = {list(bounds)}, found none; give it"
                )


class WaveformAugment:
    """Waveform augmentation: speed, then noise, then band limit, then gain.

    Args:
        config: What to change and how much.
        sample_rate_hz: Rate of the waveforms.

    Raises:
        ValueError: A cutoff is not below half the rate.

    Source: speed perturbation by resampling: Ko et al. 2015, section 2.
    """

    def __init__(self, config: AugmentationConfig, *, sample_rate_hz: int) -> None:
        if config.band_limit_hz is not None and config.band_limit_hz[1] >= sample_rate_hz / 2:
            raise ValueError(
                f"expected band_limit_hz below half the rate, {sample_rate_hz / 2:g} Hz, found "
                f"{config.band_limit_hz[1]:g} Hz; lower it"
            )
        self._config = config
        self._sample_rate_hz = sample_rate_hz
        self._resamplers = [_speed_resampler(factor) for factor in config.speed_factors]

    def duration_factor(self, seed: int) -> float:
        """Duration after over duration before, for a generator made from `seed`.

        The speed depends on the generator's seed alone, so that a sampler knows it beforehand.
        """
        if not self._config.speed_factors:
            return 1.0
        return 1.0 / self._config.speed_factors[seed % len(self._config.speed_factors)]

    def __call__(self, waveform: Tensor, *, generator: torch.Generator) -> Tensor:
        """Augment a waveform.

        Args:
            waveform: (sample,) float32.
            generator: Freshly seeded.

        Returns:
            (sample,) float32, longer or shorter by `duration_factor` of the generator's seed.
        """
        config = self._config
        if self._resamplers:
            resample = self._resamplers[generator.initial_seed() % len(self._resamplers)]
            waveform = waveform if resample is None else resample(waveform)
        if config.noise_snr_db is not None and _chance(config.noise_probability or 0.0, generator):
            snr_db = _uniform(*config.noise_snr_db, generator)
            exponent = _uniform(0.0, _BROWN_EXPONENT, generator)
            noise = coloured_noise(
                len(waveform),
                exponent=exponent,
                sample_rate_hz=self._sample_rate_hz,
                generator=generator,
            )
            power_ratio = waveform.square().mean() / noise.square().mean()
            waveform = waveform + noise * (power_ratio * 10 ** (-snr_db / 10)).sqrt()
        if config.band_limit_hz is not None and _chance(
            config.band_limit_probability or 0.0, generator
        ):
            cutoff_hz = _uniform(*config.band_limit_hz, generator)
            waveform = low_pass(waveform, cutoff_hz=cutoff_hz, sample_rate_hz=self._sample_rate_hz)
        if config.gain_db is not None:
            waveform = waveform * 10 ** (_uniform(*config.gain_db, generator) / 20)
        return waveform


def coloured_noise(
    length_samples: int, *, exponent: float, sample_rate_hz: int, generator: torch.Generator
) -> Tensor:
    """Gaussian noise whose power falls with frequency.

    Args:
        length_samples: Length; the noise repeats every 65536 samples.
        exponent: Power is proportional to frequency ** -exponent: 0 white, 1 pink, 2 brown.
        sample_rate_hz: Rate.
        generator: Source of randomness.

    Returns:
        (sample,) float32 of no particular level.
    """
    frequencies_hz = torch.fft.rfftfreq(_NOISE_PERIOD_SAMPLES, 1 / sample_rate_hz)
    amplitude = frequencies_hz.clamp(min=_LOWEST_COLOUR_HZ).pow(-exponent / 2)
    spectrum = torch.randn(len(amplitude), 2, generator=generator) * amplitude.unsqueeze(1)
    period = torch.fft.irfft(torch.view_as_complex(spectrum), n=_NOISE_PERIOD_SAMPLES, norm="ortho")
    repeats = math.ceil(length_samples / _NOISE_PERIOD_SAMPLES)
    noise: Tensor = period.repeat(repeats)[:length_samples]
    return noise


def low_pass(waveform: Tensor, *, cutoff_hz: float, sample_rate_hz: int) -> Tensor:
    """Low-pass filter: removes the band above a cutoff, as a lossy codec does, by 70 dB or more.

    Args:
        waveform: (sample,) float32.
        cutoff_hz: Where the response is one half; at 16 kHz it falls within 140 Hz on both sides.
        sample_rate_hz: Rate of the waveform.

    Returns:
        (sample,) float32, without delay.
    """
    reach = _FILTER_TAPS // 2
    cutoff = 2 * cutoff_hz / sample_rate_hz
    window = torch.blackman_window(_FILTER_TAPS, periodic=False)
    taps = cutoff * torch.sinc(cutoff * torch.arange(-reach, reach + 1)) * window
    # Overlap-save: many short transforms take a tenth of the time of one over the whole signal.
    hop = _FILTER_BLOCK_SAMPLES - 2 * reach
    blocks = -(-len(waveform) // hop)
    padding = (reach, blocks * hop - len(waveform) + reach)
    framed = torch.nn.functional.pad(waveform, padding).unfold(0, _FILTER_BLOCK_SAMPLES, hop)
    # (block, sample)
    response = torch.fft.rfft(taps, n=_FILTER_BLOCK_SAMPLES)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(framed) * response, n=_FILTER_BLOCK_SAMPLES)
    return filtered[:, 2 * reach :].reshape(-1)[: len(waveform)]


def _speed_resampler(factor: float) -> Resample | None:
    """Resampler that changes speed: faster by 11/10 takes 11 samples for 10."""
    ratio = Fraction(factor).limit_denominator(100)
    return None if ratio == 1 else Resample(ratio.numerator, ratio.denominator)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _chance(probability: float, generator: torch.Generator) -> bool:
    return torch.rand((), generator=generator).item() < probability
