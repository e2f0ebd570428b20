"""Voice activity detection: the probability of speech in each 32 ms of a recording."""

import warnings
from typing import Protocol

import torch
from torch import Tensor

_RATES_HZ = (8000, 16000)
SPEECH_PROBABILITY = 0.5
"""Stretches of at least this probability hold speech."""


class SpeechDetector(Protocol):
    """Voice activity detector of one recording: speech probabilities of consecutive stretches."""

    stretch_samples: int
    """Length of a stretch."""

    def accept(self, block: Tensor) -> list[float]:
        """Take the next block (sample,); probabilities of the stretches that it completes."""
        ...


class SileroDetector:
    """The voice activity detector silero-vad, in stretches of 32 ms.

    Args:
        rate_hz: Rate of the recording.

    Raises:
        FileNotFoundError: The extra `vad` is not installed.
        ValueError: The detector has no model for the rate.
    """

    def __init__(self, *, rate_hz: int) -> None:
        if rate_hz not in _RATES_HZ:
            raise ValueError(
                f"expected a sample rate among {list(_RATES_HZ)} Hz to find pauses, found "
                f"{rate_hz}; cut the recording into windows"
            )
        threads = torch.get_num_threads()
        try:
            from silero_vad import load_silero_vad
        except ModuleNotFoundError:
            raise FileNotFoundError(
                "expected the package silero-vad to find pauses, found none; run: "
                "tools/setup.sh vad"
            ) from None
        finally:
            # The import sets one thread for the whole process.
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            # Its model comes as TorchScript.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._model = load_silero_vad()
        self._rate_hz = rate_hz
        self.stretch_samples = rate_hz * 4 // 125
        self._pending = torch.empty(0)

    @torch.inference_mode()
    def accept(self, block: Tensor) -> list[float]:
        """Take the next block; see SpeechDetector."""
        joined = torch.cat([self._pending, block])
        whole = len(joined) // self.stretch_samples * self.stretch_samples
        self._pending = joined[whole:].clone()
        stretches = joined[:whole].view(-1, self.stretch_samples)
        return [float(self._model(stretch, self._rate_hz)) for stretch in stretches]
