"""What all encoders share: their config's base, their contract and their output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.lengths import valid_mask
from asr.model.attention import ATTENTION, OFFLINE, Attention, AttentionConfig, Mode
from asr.model.branches import FrameContext
from asr.model.dropout import Dropout
from asr.model.sinusoids import sinusoids
from asr.model.stack import Block, BranchStates, Conditioned, Stack
from asr.model.subsampling import Subsampling, SubsamplingConfig
from asr.schema import STRICT, parse_choice


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
    intermediate_use: Literal["loss", "condition"] = "loss"
    """What their transcript serves: the loss alone, or also the next block, which gets the label
    posteriors, mapped back to the width, added to its input (self-conditioned CTC; Nozaki and
    Komatsu 2021)."""
    reversible: bool = False
    """Reversible residual layers: training stores no activations of the blocks."""
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    """Probability that training skips the last block, drawn for each utterance; those before it
    have less, linear from 0 before the first (stochastic depth; Huang et al. 2016)."""
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
        layers = list(self.intermediate_layers)
        if not all(1 <= layer < self.layers for layer in layers) or layers != sorted(set(layers)):
            raise ValueError(
                f"expected ascending intermediate_layers in 1 .. {self.layers - 1}, found {layers}"
            )
        if self.intermediate_use == "condition" and not self.intermediate_layers:
            raise ValueError(
                'expected intermediate_layers with intermediate_use = "condition", found none; '
                "give the blocks"
            )
        if self.intermediate_use == "condition" and self.reversible:
            raise ValueError(
                'expected reversible = false with intermediate_use = "condition", found true: '
                "what is added to both streams depends on both, so that it cannot be subtracted "
                "again; change one"
            )


Conditioning = Callable[[Tensor, Tensor], Conditioned]
"""From a block's output and the same after the final norm to what the next block gets."""


class EncoderState(NamedTuple):
    """What an encoder carries from chunk to chunk, batch first.

    Args:
        features: Feature frames (batch, time, feature) that wait for the next ones.
        feature_lengths: (batch,) int64, how many of these are real.
        frames: (batch,) int64, encoder frames so far.
        branches: States of the blocks' branches.
    """

    features: Tensor
    feature_lengths: Tensor
    frames: Tensor
    branches: BranchStates

    def select(self, index: Tensor) -> "EncoderState":
        """The state of some items, in that order: index (item,) int64."""
        return EncoderState(
            self.features.index_select(0, index),
            self.feature_lengths.index_select(0, index),
            self.frames.index_select(0, index),
            tuple(None if state is None else state.select(index) for state in self.branches),
        )


@plain_dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """What an encoder gives.

    Args:
        output: (batch, frames, feature), zero where not valid.
        lengths: (batch,) int64, encoder frames.
        state: What the next chunk needs; None offline.
        losses: Auxiliary losses by name, summed over the blocks.
        intermediates: Outputs of chosen blocks, of the shape of `output`; none where they condition
            the next ones.
        intermediate_log_probs: In training, the log-probabilities (batch, frames, vocab) that they
            condition these on.
    """

    output: Tensor
    lengths: Tensor
    state: EncoderState | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    intermediates: tuple[Tensor, ...] = ()
    intermediate_log_probs: tuple[Tensor, ...] = ()


torch.export.register_dataclass(
    EncoderOutput, serialized_type_name="asr.model.encoders.EncoderOutput"
)


class Encoder(nn.Module):
    """Subsampling, positions where the attention has none, and a stack of blocks.

    Args:
        config: The encoder's section.
        feature_size: Features of each input frame.
        blocks: The blocks.
        attentions: The blocks' attentions.
        final_norm: After the stack; None where the blocks have norms.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        feature_size: int,
        blocks: Sequence[Block],
        attentions: Sequence[Attention],
        final_norm: nn.Module | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(
            config.subsampling, feature_size=feature_size, width=config.width
        )
        self.dropout = Dropout(config.dropout)
        self.adds_positions = attentions[0].capabilities.positions == "none"
        self.stack = Stack(
            blocks,
            intermediate_layers=config.intermediate_layers,
            reversible=config.reversible,
            stochastic_depth=config.stochastic_depth,
        )
        self.final_norm = nn.Identity() if final_norm is None else final_norm

    def check_mode(self, mode: Mode) -> None:
        """Raise if an attention cannot serve the mode.

        Raises:
            ValueError: With the reason.
        """
        for module in self.modules():
            if isinstance(module, Attention):
                module.check_mode(mode)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: EncoderState | None = None,
        condition: Conditioning | None = None,
    ) -> EncoderOutput:
        """Encode.

        Args:
            features: (batch, time, feature). Chunked calls make whole chunks of encoder frames: the
                first call of c chunks takes factor * c * chunk + `subsampling.lookahead` feature
                frames, later ones factor * c * chunk, the last as many as there are.
            lengths: (batch,) int64, feature frames.
            mode: Which frames a frame may attend to.
            state: What the previous call returned; None at the start and offline.
            condition: What makes the next block's input of an intermediate block's output
                (batch, time, feature) and the same after the final norm; with
                `intermediate_use = "condition"` alone.

        Returns:
            The encoded frames.

        Raises:
            ValueError: The conditioning is missing, or not wanted.
        """
        if (condition is None) == (self.config.intermediate_use == "condition"):
            raise ValueError(
                f"expected conditioning exactly with intermediate_use = 'condition', found "
                f"{self.config.intermediate_use!r} with{'out' if condition is None else ''} any; "
                "call the CtcModel"
            )
        if state is not None:
            features = torch.cat([state.features.to(features.dtype), features], dim=1)
            lengths = state.feature_lengths + lengths
        # What branches add up in is float32 under autocast, whatever the attention.
        x = self.subsampling(features).to(features.dtype)
        frames = self.subsampling.output_length(lengths)
        valid = valid_mask(frames, x.shape[1])
        if self.adds_positions:
            positions = torch.arange(x.shape[1], device=x.device)
            if state is not None:
                positions = state.frames.unsqueeze(1) + positions
            x = x + sinusoids(positions, x.shape[2])
        stacked = self.stack(
            self.dropout(x),
            FrameContext(valid_mask=valid, mode=mode),
            None if state is None else state.branches,
            condition=None if condition is None else lambda x: condition(x, self.final_norm(x)),
        )
        after = None
        if mode.kind != "offline":
            used = x.shape[1] * self.config.subsampling.factor
            before = torch.zeros_like(frames) if state is None else state.frames
            after = EncoderState(
                features=features[:, used:].detach().clone(),
                feature_lengths=(lengths - used).clamp(min=0),
                frames=before + x.shape[1],
                branches=stacked.states,
            )
        return EncoderOutput(
            output=torch.where(valid.unsqueeze(2), self.final_norm(stacked.output), 0.0),
            lengths=frames,
            state=after,
            losses=stacked.losses,
            intermediates=tuple(self.final_norm(each) for each in stacked.intermediates),
            intermediate_log_probs=stacked.intermediate_log_probs,
        )
