"""Encoders by word."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from asr.model.encoders.base import Encoder as Encoder
from asr.model.encoders.base import EncoderConfig as EncoderConfig
from asr.model.encoders.base import EncoderOutput as EncoderOutput
from asr.model.encoders.base import EncoderState as EncoderState
from asr.model.encoders.conformer import ConformerConfig, ConformerEncoder
from asr.model.encoders.lite_transformer import LiteTransformerConfig, LiteTransformerEncoder
from asr.model.encoders.transformer import TransformerConfig, TransformerEncoder
from asr.schema import parse_choice


class EncoderBuilder(Protocol):
    """Makes an encoder from its config."""

    def __call__(self, config: Any, *, feature_size: int) -> Encoder:  # noqa: ANN401
        """Build."""
        ...


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder: the class of its settings and its builder."""

    config: type[EncoderConfig]
    build: EncoderBuilder


ENCODERS: Mapping[str, EncoderEntry] = {
    "conformer": EncoderEntry(ConformerConfig, ConformerEncoder),
    "lite_transformer": EncoderEntry(LiteTransformerConfig, LiteTransformerEncoder),
    "transformer": EncoderEntry(TransformerConfig, TransformerEncoder),
}


def parse_encoder(section: object) -> EncoderConfig:
    """Section `[model]` as the config class of its `encoder`.

    Raises:
        ValueError: The word is missing or unknown, or a setting is wrong.
    """
    classes = {word: entry.config for word, entry in ENCODERS.items()}
    return parse_choice(section, key="encoder", classes=classes, where="model")
