"""What a loader hands to the model."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded utterances.

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
        """The same batch with its tensors on `device`."""
        return Batch(
            ids=self.ids,
            waveforms=self.waveforms.to(device, non_blocking=True),
            waveform_lengths=self.waveform_lengths.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            label_lengths=self.label_lengths.to(device, non_blocking=True),
        )
