"""Features to log-probabilities."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.model.attention import OFFLINE, Mode
from asr.model.ctc import CtcHead, SelfConditioningHead
from asr.model.encoders import Encoder, EncoderState
from asr.model.trainable import Trainable


@dataclass(frozen=True, kw_only=True)
class CtcOutput:
    """What a CTC model gives.

    Args:
        log_probs: (batch, time, vocab) float32, natural logarithm; index 0 is the blank.
        lengths: (batch,) int64, encoder frames.
        state: What the next chunk needs; None offline.
        losses: Auxiliary losses by name, each a scalar.
        intermediate_log_probs: In training, the head's log-probabilities after the encoder's
            intermediate blocks, each like `log_probs`.
    """

    log_probs: Tensor
    lengths: Tensor
    state: EncoderState | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    intermediate_log_probs: tuple[Tensor, ...] = ()


torch.export.register_dataclass(CtcOutput, serialized_type_name="asr.model.CtcOutput")


class CtcModel(Trainable):
    """An encoder and a CTC head."""

    def __init__(self, encoder: Encoder, *, width: int, vocab_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        conditions = encoder.config.intermediate_use == "condition"
        build_head = SelfConditioningHead if conditions else CtcHead
        self.head = build_head(width=width, vocab_size=vocab_size)

    @property
    def subsampling_factor(self) -> int:
        """Feature frames for each encoder frame."""
        return self.encoder.subsampling.config.factor

    def output_length(self, feature_frames: int) -> int:
        """Encoder frames of an utterance with so many feature frames."""
        return int(self.encoder.subsampling.output_length(feature_frames))

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: EncoderState | None = None,
    ) -> CtcOutput:
        """Compute log-probabilities.

        Args:
            features: (batch, time, feature), normalised; see Encoder for chunked calls.
            lengths: (batch,) int64, feature frames.
            mode: Which frames a frame may attend to.
            state: What the previous call returned; None at the start and offline.

        Returns:
            Log-probabilities; what stands beyond an item's length has no meaning.
        """
        head = self.head if isinstance(self.head, SelfConditioningHead) else None
        encoded = self.encoder(features, lengths, mode=mode, state=state, head=head)
        log_probs = self.head(encoded.output)
        intermediate = encoded.intermediate_log_probs
        if self.training and head is None:
            intermediate = tuple(self.head(output) for output in encoded.intermediates)
        return CtcOutput(
            log_probs=log_probs,
            lengths=encoded.lengths,
            state=encoded.state,
            losses=encoded.losses,
            intermediate_log_probs=intermediate,
        )
