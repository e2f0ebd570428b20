"""What all encoders share: their config's base, their contract and their output."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention import ATTENTION, OFFLINE, AttentionConfig, Mode
from asr.model.subsampling import Subsampling, SubsamplingConfig
from asr.schema import STRICT, parse_choice

State = tuple[Tensor, ...]


def parse_attention(section: object) -> AttentionConfig:
    """Section `[model.attention]` as the config class of its `kind`.

    Raises:
        ValueError: The word is missing or unknown, or a setting is wrong.
    """
    classes = {word: entry.config for word, entry in ATTENTION.items()}
    return parse_choice(section, key="kind", classes=classes, where="model.attention")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderConfig:
    """What every encoder's section `[model]` holds."""

    encoder: str
    """The word of the encoder, a key of ENCODERS."""
    width: int = Field(gt=0)
    """Features of each frame."""
    layers: int = Field(gt=0)
    """Blocks."""
    heads: int = Field(gt=0)
    """Attention heads; they divide the width."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout probability."""
    subsampling: SubsamplingConfig
    """Subsampling before the blocks."""
    intermediate_layers: tuple[int, ...] = ()
    """Blocks, counted from 1, after which training also asks for the transcript (InterCTC)."""
    intermediate_weight: float = Field(default=0.0, ge=0, lt=1)
    """Share of these blocks' mean loss in the loss."""
    attention: Annotated[SerializeAsAny[AttentionConfig], BeforeValidator(parse_attention)]
    """The attention mechanism."""

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"expected an even number of features a head, found width {self.width} "
                f"and {self.heads} heads; "
                "make width a multiple of 2 x heads"
            )
        if bool(self.intermediate_layers) != (self.intermediate_weight > 0):
            raise ValueError(
                "expected intermediate_layers and intermediate_weight together or neither, found "
                f"{list(self.intermediate_layers)} and {self.intermediate_weight}"
            )
        if not all(1 <= layer < self.layers for layer in self.intermediate_layers):
            raise ValueError(
                f"expected intermediate_layers in 1 .. {self.layers - 1}, found "
                f"{list(self.intermediate_layers)}"
            )


@plain_dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """What an encoder gives.

    Args:
        output: (batch, frames, feature), zero where not valid.
        lengths: (batch,) int64, encoder frames.
        state: What the next chunk needs; None offline.
        losses: Auxiliary losses by name, summed over the blocks.
        intermediates: Outputs of chosen blocks, of the shape of `output`.
    """

    output: Tensor
    lengths: Tensor
    state: State | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    intermediates: tuple[Tensor, ...] = ()


torch.export.register_dataclass(
    EncoderOutput, serialized_type_name="asr.model.encoders.EncoderOutput"
)


class Encoder(nn.Module, ABC):
    """Subsampling and a stack of blocks."""

    config: EncoderConfig
    subsampling: Subsampling
    blocks: nn.ModuleList

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: State | None = None,
    ) -> EncoderOutput:
        """Encode.

        Args:
            features: (batch, time, feature).
            lengths: (batch,) int64, feature frames.
            mode: Which frames a frame may attend to.
            state: What the previous chunk returned; None at the start and offline.

        Returns:
            The encoded frames.
        """


def add_losses(total: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    """Add auxiliary losses into `total` by name."""
    for name, loss in more.items():
        total[name] = total[name] + loss if name in total else loss
