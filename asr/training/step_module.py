"""Features to losses, as the one module that Lightning's strategies wrap."""

import torch
from torch import Tensor, nn

from asr.model.ctc import ctc_losses
from asr.model.ctc_model import CtcModel


class CtcStep(nn.Module):
    """The model and its loss in one forward, so that distributed hooks see all of it.

    Args:
        model: The model that is trained.

    Source: Lee and Watanabe 2021, section 3 (intermediate CTC).
    """

    def __init__(self, model: CtcModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> dict[str, Tensor]:
        """Compute losses.

        Args:
            features: (batch, time, feature).
            lengths: (batch,) int64, frames.
            labels: (batch, token) int64.
            label_lengths: (batch,) int64.

        Returns:
            `nats`: (batch,) float32, negative log-likelihood of each utterance, in training mixed
            with the mean of the intermediate blocks';
            `auxiliary`: scalar, sum of the encoder's own losses;
            `log_probs`: (batch, time, vocab); `lengths`: (batch,) int64, its frames.
        """
        output = self.model(features, lengths)
        ctc = ctc_losses(output.log_probs, output.lengths, labels, label_lengths)
        if output.intermediate_log_probs:
            inner = torch.stack(
                [
                    ctc_losses(log_probs, output.lengths, labels, label_lengths)
                    for log_probs in output.intermediate_log_probs
                ]
            )
            weight = self.model.encoder.config.intermediate_weight
            ctc = torch.lerp(ctc, inner.mean(dim=0), weight)
        auxiliary = ctc.new_zeros(())
        for loss in output.losses.values():
            auxiliary = auxiliary + loss.float()
        return {
            "nats": ctc,
            "auxiliary": auxiliary,
            "log_probs": output.log_probs,
            "lengths": output.lengths,
        }
