"""Transformer language models over token pieces."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.lengths import valid_mask
from asr.model.attention import AttentionConfig, Mode, build_attentions, causal
from asr.model.branches import FrameContext
from asr.model.dropout import Dropout
from asr.model.encoders.base import parse_attention
from asr.model.sinusoids import sinusoids
from asr.model.stack import BranchStates, Stack, transformer_blocks
from asr.model.trainable import Trainable
from asr.schema import STRICT

BOUNDARY = 0
"""The label before the first token of a sentence and after its last; CTC's blank elsewhere."""
_FIRST_DEVIATION = 0.02


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LanguageModelConfig:
    """Section `[model]` of a language model."""

    width: int = Field(gt=0)
    """Features of each token."""
    layers: int = Field(gt=0)
    """Blocks."""
    heads: int = Field(gt=0)
    """Attention heads; they divide the width."""
    feed_forward_expansion: int = Field(default=4, gt=0)
    """Hidden width of the feed-forward modules as a multiple of the width."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout probability."""
    attention: Annotated[SerializeAsAny[AttentionConfig], BeforeValidator(parse_attention)]
    """The attention mechanism; it must serve causal mode."""

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"expected an even number of features a head, found width {self.width} and "
                f"{self.heads} heads; make width a multiple of 2 x heads"
            )


class LanguageModelState(NamedTuple):
    """What a language model carries from call to call, batch first.

    Args:
        tokens: (batch,) int64, tokens so far.
        branches: States of the blocks' branches.
    """

    tokens: Tensor
    branches: BranchStates

    def select(self, index: Tensor) -> "LanguageModelState":
        """The state of some items, in that order: index (item,) int64."""
        return LanguageModelState(
            self.tokens.index_select(0, index),
            tuple(None if state is None else state.select(index) for state in self.branches),
        )


@plain_dataclass(frozen=True, kw_only=True)
class LanguageModelOutput:
    """What a language model gives.

    Args:
        log_probs: (batch, time, N + 1) float32, natural logarithm: of each next label in 1 .. N,
            and of the sentence's end in place 0.
        state: What the next call needs.
        losses: Auxiliary losses by name, each a scalar.
    """

    log_probs: Tensor
    state: LanguageModelState
    losses: dict[str, Tensor]


class LanguageModel(Trainable):
    """Embedding, causal Transformer blocks, norm; the output shares the embedding's weights.

    Args:
        config: Sizes and attention.
        vocab_size: Number of token pieces N.

    Raises:
        ValueError: The attention does not serve causal mode.

    Source: Vaswani et al. 2017, section 3; Press and Wolf 2017 (shared weights).
    """

    def __init__(self, config: LanguageModelConfig, *, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        attentions = build_attentions(
            config.attention,
            width=config.width,
            heads=config.heads,
            dropout=config.dropout,
            layers=config.layers,
        )
        attentions[0].check_mode(causal())
        self.capabilities = attentions[0].capabilities
        """What the attention can do."""
        self.adds_positions = self.capabilities.positions == "none"
        # Small, since a token's own embedding reaches the output, which shares its weights.
        self.embedding = nn.Parameter(torch.empty(vocab_size + 1, config.width))
        nn.init.normal_(self.embedding, std=_FIRST_DEVIATION)
        self.bias = nn.Parameter(torch.zeros(vocab_size + 1))
        self.dropout = Dropout(config.dropout)
        blocks = transformer_blocks(
            attentions,
            width=config.width,
            feed_forward_expansion=config.feed_forward_expansion,
            dropout=config.dropout,
        )
        self.stack = Stack(blocks, intermediate_layers=(), reversible=False)
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor,
        *,
        mode: Mode | None = None,
        state: LanguageModelState | None = None,
    ) -> LanguageModelOutput:
        """Predict each next label.

        Args:
            tokens: (batch, time) int64 in 0 .. N; a sentence begins with BOUNDARY.
            lengths: (batch,) int64, tokens of each item.
            mode: Causal with the left context to be seen, in tokens; None sees all.
            state: What the previous call returned under the same mode; None at the start. All
                items of that call must have filled it, or have ended.

        Returns:
            Log-probabilities; what stands beyond an item's length has no meaning.
        """
        mode = mode or causal()
        x = nn.functional.embedding(tokens, self.embedding) * self.config.width**0.5
        before = torch.zeros_like(lengths) if state is None else state.tokens
        if self.adds_positions:
            positions = before.unsqueeze(1) + torch.arange(tokens.shape[1], device=tokens.device)
            x = x + sinusoids(positions, x.shape[2])
        stacked = self.stack(
            self.dropout(x),
            FrameContext(valid_mask=valid_mask(lengths, tokens.shape[1]), mode=mode),
            None if state is None else state.branches,
        )
        hidden = self.norm(stacked.output)
        with torch.autocast(x.device.type, enabled=False):
            logits = nn.functional.linear(hidden.float(), self.embedding, self.bias)
            log_probs = nn.functional.log_softmax(logits, dim=2)
        return LanguageModelOutput(
            log_probs=log_probs,
            state=LanguageModelState(before + lengths, stacked.states),
            losses=stacked.losses,
        )
