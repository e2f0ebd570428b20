"""Batch of utterances: padded waveforms and labels with their lengths."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Batch of padded utterances.

    Args:
        ids: Utterance ids, one an item.
        waveforms: (batch, sample) float32 at the model's rate, zero where padded.
        waveform_lengths: (batch,) int64, samples.
        labels: (batch, token) int64, 1 .. number of pieces (0 is CTC's blank and the padding).
        label_lengths: (batch,) int64, tokens.
    """

    ids: tuple[str, ...]
    waveforms: Tensor
    waveform_lengths: Tensor
    labels: Tensor
    label_lengths: Tensor

    @property
    def label_count(self) -> Tensor:
        """Labels of all items together, a scalar."""
        return self.label_lengths.sum()

    @property
    def size(self) -> str:
        """How large it is, in words."""
        return f"{len(self.ids)} utterances of {self.waveforms.shape[1]} samples"

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on `device`; a copy from pinned memory is not awaited."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(
            ids=self.ids,
            waveforms=change(self.waveforms),
            waveform_lengths=change(self.waveform_lengths),
            labels=change(self.labels),
            label_lengths=change(self.label_lengths),
        )
