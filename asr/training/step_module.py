"""Features to losses, as the one module that Lightning's strategies wrap."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asr.ctc import ConsistencyConfig, CtcModel, consistency_losses, ctc_losses, mean_of_views
from asr.model.attention import OFFLINE
from asr.training.chunk_modes import ChunkModes
from asr.training.config import StreamingTrainingConfig


class CtcStep(nn.Module):
    """The model and its loss in one forward, so that distributed hooks see all of it.

    Args:
        model: The model that is trained.
        streaming: Chunks of training; None trains offline alone.
        consistency: What two views of each utterance cost in training; None for one view.

    Raises:
        ValueError: The model does not serve the chunks.

    Source: Lee and Watanabe 2021, section 3 (intermediate CTC).
    """

    def __init__(
        self,
        model: CtcModel,
        *,
        streaming: StreamingTrainingConfig | None = None,
        consistency: ConsistencyConfig | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._consistency = consistency
        self._modes = None if streaming is None else ChunkModes(streaming, model.encoder)
        self._takes_largest = False

    @contextmanager
    def largest_mode(self) -> Iterator[None]:
        """Train with the mode that needs the most memory instead of drawing one."""
        self._takes_largest = True
        try:
            yield
        finally:
            self._takes_largest = False

    def forward(
        self, features: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> dict[str, Tensor]:
        """Compute losses.

        Args:
            features: (batch, time, feature); in training with consistency the batch holds all
                utterances in one view, then in the other.
            lengths: (batch,) int64, frames.
            labels: (batch, token) int64.
            label_lengths: (batch,) int64.

        Returns:
            `nats`: (utterance,) float32, negative log-likelihood of each utterance, in training
            mixed with the mean of the intermediate blocks'; the mean over its views;
            `auxiliary`: scalar, sum of the encoder's own losses and the weighted consistency;
            `consistency`: with two views, a detached scalar, nats a label;
            `log_probs`: (batch, time, vocab); `lengths`: (batch,) int64, its frames;
            `streaming_log_probs`: in evaluation with chunks, those with the shortest ones.
        """
        mode = OFFLINE
        if self._modes is not None and self.training:
            mode = self._modes.largest if self._takes_largest else self._modes.draw()
        output = self.model(features, lengths, mode=mode)
        ctc = ctc_losses(output.log_probs, output.lengths, labels, label_lengths)
        if output.intermediate_log_probs:
            inner = torch.stack(
                [
                    ctc_losses(log_probs, output.lengths, labels, label_lengths)
                    for log_probs in output.intermediate_log_probs
                ]
            )
            weight = self.model.encoder.config.intermediate_weight
            # No lerp, which makes nothing of two infinite losses.
            ctc = (1 - weight) * ctc + weight * inner.mean(dim=0)
        result = {
            "nats": ctc,
            "auxiliary": total_loss(output.losses, like=ctc),
            "log_probs": output.log_probs,
            "lengths": output.lengths,
        }
        if self._consistency is not None and self.training:
            result["nats"] = mean_of_views(ctc)
            labels = label_lengths.chunk(2)[0].sum().clamp(min=1)
            consistency = consistency_losses(output.log_probs, output.lengths).sum() / labels
            result["auxiliary"] = result["auxiliary"] + self._consistency.weight * consistency
            result["consistency"] = consistency.detach()
        if self._modes is not None and not self.training:
            shortest = self.model(features, lengths, mode=self._modes.shortest)
            result["streaming_log_probs"] = shortest.log_probs
        return result


def total_loss(losses: Mapping[str, Tensor], *, like: Tensor) -> Tensor:
    """Sum of auxiliary losses, a float32 scalar on the device of `like`; 0 where there is none."""
    return sum((loss.float() for loss in losses.values()), start=like.new_zeros(()))
