"""CTC model: an encoder and its head, from features to log-probabilities."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from asr.model.attention import OFFLINE, Mode
from asr.model.encoders import ENCODERS, Encoder, EncoderConfig, EncoderState
from asr.model.stack import Conditioned
from asr.model.trainable import Trainable


class CtcHead(nn.Module):
    """Log-probabilities of the blank and the token pieces, in float32; pointwise in time."""

    def __init__(self, *, width: int, vocab_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, vocab_size + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, feature) to log-probabilities (batch, time, vocab_size + 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.log_softmax(self.projection(x.float()), dim=2)


class SelfConditioningHead(CtcHead):
    """A head whose posteriors inside the encoder, mapped back to its width, condition later blocks.

    All blocks share the map, as they share the head.

    Source: Nozaki and Komatsu 2021 (arXiv:2104.02724), self-conditioned CTC.
    """

    def __init__(self, *, width: int, vocab_size: int) -> None:
        super().__init__(width=width, vocab_size=vocab_size)
        self.feedback = nn.Linear(vocab_size + 1, width)

    def condition(self, x: Tensor, normalised: Tensor) -> Conditioned:
        """Add what the posteriors say; pointwise in time.

        Args:
            x: (batch, time, feature), a block's output.
            normalised: Of the same shape, the same as the head takes it.

        Returns:
            The sum and the log-probabilities.
        """
        log_probs = self(normalised)
        return Conditioned(output=x + self.feedback(log_probs.exp()), log_probs=log_probs)


@dataclass(frozen=True, kw_only=True)
class CtcOutput:
    """Output of a CTC model.

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


torch.export.register_dataclass(CtcOutput, serialized_type_name="asr.ctc.CtcOutput")


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

    @property
    def lookahead(self) -> int:
        """Feature frames that the first encoder frame sees beyond its own `subsampling_factor`."""
        return self.encoder.subsampling.lookahead

    @property
    def output_size(self) -> int:
        """Entries of a frame's log-probabilities: the blank and the token pieces."""
        return self.head.projection.out_features

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
        condition = self.head.condition if isinstance(self.head, SelfConditioningHead) else None
        encoded = self.encoder(features, lengths, mode=mode, state=state, condition=condition)
        log_probs = self.head(encoded.output)
        intermediate = encoded.intermediate_log_probs
        if self.training and condition is None:
            intermediate = tuple(self.head(output) for output in encoded.intermediates)
        return CtcOutput(
            log_probs=log_probs,
            lengths=encoded.lengths,
            state=encoded.state,
            losses=encoded.losses,
            intermediate_log_probs=intermediate,
        )


def build_model(config: EncoderConfig, *, vocab_size: int, feature_size: int = 80) -> CtcModel:
    """Build the model that section `[model]` describes.

    Args:
        config: The section.
        vocab_size: Number of token pieces; log-probabilities have one entry more, the blank.
        feature_size: Features of each input frame.

    Returns:
        A model with fresh weights.

    Raises:
        ValueError: The tokenizer is empty, or the features are too few for the subsampling.
    """
    if vocab_size < 1:
        raise ValueError(
            f"expected at least one token piece, found {vocab_size}; train a tokenizer"
        )
    encoder = ENCODERS[config.encoder].build(config, feature_size=feature_size)
    return CtcModel(encoder, width=config.width, vocab_size=vocab_size)
