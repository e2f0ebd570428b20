"""Encoders with CTC heads."""

from asr.model.ctc_model import CtcModel as CtcModel
from asr.model.ctc_model import CtcOutput as CtcOutput
from asr.model.encoders import ENCODERS, EncoderConfig


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
