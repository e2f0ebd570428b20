"""Log-mel filter banks: a waveform's energies in bands of equal width on the mel scale."""

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.audio_library import get_mel_banks
from asr.features.base import Features, FrontendConfig
from asr.lengths import valid_mask
from asr.schema import STRICT

_SIXTEEN_BIT = 32768.0  # Kaldi's filter banks take samples in 16-bit units
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0
# Windows computed at once; their samples take ten times the memory of their features.
_SLICE_FRAMES = 8192


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LogMelConfig(FrontendConfig):
    """Log-mel filter banks as Kaldi computes them, without dither."""

    kind: Literal["log_mel"] = "log_mel"
    """Log-mel filter banks."""
    mel_bins: int = Field(default=80, gt=0)
    """Number of mel filters."""
    window_seconds: float = Field(default=0.025, gt=0)
    """Length of the analysis window, in seconds."""
    hop_seconds: float = Field(default=0.010, gt=0)
    """Step between windows, in seconds."""

    @property
    def feature_size(self) -> int:
        """Mel filters."""
        return self.mel_bins

    @property
    def window_samples(self) -> int:
        """Window length in samples."""
        return round(self.window_seconds * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        """Hop in samples."""
        return round(self.hop_seconds * self.sample_rate_hz)

    def __post_init__(self) -> None:
        for name, samples in (("window", self.window_samples), ("hop", self.hop_samples)):
            seconds = getattr(self, f"{name}_seconds")
            if samples < 1 or abs(samples / self.sample_rate_hz - seconds) > 1e-9:
                raise ValueError(
                    f"expected {name}_seconds to be a whole number of samples at "
                    f"{self.sample_rate_hz} Hz, "
                    f"found {seconds} ({seconds * self.sample_rate_hz:g} samples)"
                )


class LogMel(nn.Module):
    """Log-mel filter-bank energies of windows that lie wholly inside the signal.

    Source: Kaldi's `compute-fbank-feats` (Povey window, pre-emphasis 0.97, power spectrum).
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.fft_size = 1 << (config.window_samples - 1).bit_length()
        window = torch.hann_window(config.window_samples, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.pow(0.85).float(), persistent=False)
        filters, _ = get_mel_banks(
            config.mel_bins,
            self.fft_size,
            config.sample_rate_hz,
            _LOWEST_HZ,
            0.0,
            100.0,
            -500.0,
            1.0,
        )
        # The bank has no column for the Nyquist bin.
        self.register_buffer("filters", nn.functional.pad(filters, (0, 1)).T, persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Features:
        """Compute features.

        Args:
            waveforms: (batch, sample) in -1 .. 1.
            lengths: (batch,) int64, samples.

        Returns:
            Features with one frame for each whole window; at least one (padded) frame in time.
        """
        config = self.config
        short = config.window_samples - waveforms.shape[1]
        if short > 0:
            waveforms = nn.functional.pad(waveforms, (0, short))
        with torch.autocast(waveforms.device.type, enabled=False):
            frames = waveforms.float().unfold(1, config.window_samples, config.hop_samples)
            # (batch, time, sample)
            slices = torch.split(frames, _SLICE_FRAMES, dim=1)
            log_energies = torch.cat([self._log_energies(part) for part in slices], dim=1)
        frame_lengths = config.frames(lengths)
        valid = valid_mask(frame_lengths, log_energies.shape[1])
        return Features(
            features=log_energies.masked_fill(~valid.unsqueeze(2), 0.0), lengths=frame_lengths
        )

    def _log_energies(self, frames: Tensor) -> Tensor:
        """(batch, time, sample) to (batch, time, feature)."""
        frames = (frames - frames.mean(dim=2, keepdim=True)) * _SIXTEEN_BIT
        previous = torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
        frames = (frames - _PREEMPHASIS * previous) * self.window
        power = torch.fft.rfft(frames, n=self.fft_size).abs().square()
        # (batch, time, frequency)
        energies: Tensor = power @ self.filters
        # (batch, time, feature)
        return energies.clamp(min=torch.finfo(torch.float32).eps).log()
