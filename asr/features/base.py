"""Contract of a frontend: its settings with the arithmetic of frames, and the features it gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as plain_dataclass
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.lengths import IntOrTensor, strided_length
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FrontendConfig(ABC):
    """Settings that every frontend has, and its frame arithmetic.

    A frontend makes feature frames from windows that lie wholly inside the signal: frame n stands
    for `window_samples` from sample n * `hop_samples` on. All arithmetic between samples, seconds
    and feature frames is here.
    """

    kind: str
    """The word of the frontend, a key of FRONTENDS."""
    sample_rate_hz: int = Field(default=16000, gt=0)
    """Rate that audio is resampled to, in Hz."""
    normalisation: Literal["global", "utterance"] = "global"
    """Mean and variance of the training data, or of each utterance (which cannot stream)."""

    @property
    @abstractmethod
    def feature_size(self) -> int:
        """Features of a frame."""

    @property
    @abstractmethod
    def window_samples(self) -> int:
        """Samples that one frame is made from."""

    @property
    @abstractmethod
    def hop_samples(self) -> int:
        """Samples between the starts of consecutive frames."""

    def frames(self, samples: IntOrTensor) -> IntOrTensor:
        """Feature frames of a waveform.

        Args:
            samples: Its length, an int or an int64 tensor of any shape.

        Returns:
            Frames, of the type and shape of `samples`.
        """
        return strided_length(samples, kernel=self.window_samples, stride=self.hop_samples)

    def frames_of_seconds(self, seconds: float) -> int:
        """Feature frames of a waveform whose length is given in seconds."""
        return self.frames(int(seconds * self.sample_rate_hz))

    def start_sample(self, frame: int) -> int:
        """The first sample of a frame's window; as a length, the samples of so many hops."""
        return frame * self.hop_samples

    def samples_seen(self, frames: int) -> int:
        """Samples that so many consecutive frames are made from, at least one frame."""
        return self.start_sample(frames - 1) + self.window_samples

    def samples_awaited(self, frames: int) -> int:
        """Samples of a stream that have to arrive for so many consecutive frames, at least one.

        Windows that do not overlap leave a gap, which is waited for too.
        """
        return max(self.samples_seen(frames), self.start_sample(frames))

    def seconds(self, samples: float) -> float:
        """Duration of so many samples."""
        return samples / self.sample_rate_hz


@plain_dataclass(frozen=True, kw_only=True)
class Features:
    """A batch of features.

    Args:
        features: (batch, time, feature) float32, zero where padded.
        lengths: (batch,) int64, frames.
    """

    features: Tensor
    lengths: Tensor
