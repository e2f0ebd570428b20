"""Attune and its peers in the same shape, each behind `CtcSystem`.

Every peer gets the head that peers have, a projection in the type of autocast, and PyTorch's CTC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tools.ctc_step import LEARNING_RATE, WEIGHT_DECAY, CtcSystem
from tools.peers.shape import (
    DROPOUT,
    HEADS,
    KERNEL_FRAMES,
    MEL_BINS,
    VOCAB_SIZE,
    Shape,
    halved,
)

# A peer's environment need not have what Attune needs: each system imports its own package.
if TYPE_CHECKING:
    from asr.ctc import CtcModel

_CONFIG = Path(__file__).parents[2] / "recipes" / "librispeech" / "conf" / "conformer_small.toml"


@dataclass(frozen=True, kw_only=True)
class SystemEntry:
    """A recogniser that can be measured.

    Args:
        build: Makes it with fresh weights.
        distribution: The package whose version is told.
        requirement: What pip installs into the peers' environment; None for what Attune itself
            needs, which runs in Attune's own.
        note: How it differs from the others.
    """

    build: Callable[[Shape], CtcSystem]
    distribution: str
    requirement: str | None
    note: str


def _attune(shape: Shape) -> CtcSystem:
    from asr.config import load_config
    from asr.ctc import build_model

    overrides = {
        "width": shape.width,
        "layers": shape.layers,
        "heads": HEADS,
        "kernel_frames": KERNEL_FRAMES,
        "dropout": DROPOUT,
        "subsampling.channels": shape.width,
    }
    config = load_config(_CONFIG, [f"model.{key}={value}" for key, value in overrides.items()])
    return attune_system(build_model(config.model, vocab_size=VOCAB_SIZE, feature_size=MEL_BINS))


def attune_system(model: "CtcModel") -> CtcSystem:
    """Our own models as a training loop sees them."""
    from asr.ctc import ctc_losses

    def log_probs(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        output = model(features, lengths)
        return output.log_probs, output.lengths

    groups = model.parameter_groups(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    return CtcSystem(model=model, log_probs=log_probs, losses=ctc_losses, groups=groups)


def _torchaudio(shape: Shape) -> CtcSystem:
    from torchaudio.models import Conformer

    # Plain, as ESPnet has it: a peer must not change when Attune's own subsampling does.
    convolutions = nn.Sequential(
        nn.Conv2d(1, shape.width, 3, 2),
        nn.ReLU(),
        nn.Conv2d(shape.width, shape.width, 3, 2),
        nn.ReLU(),
    )
    projection = nn.Linear(shape.width * halved(halved(MEL_BINS)), shape.width)
    conformer = Conformer(
        input_dim=shape.width,
        num_heads=HEADS,
        ffn_dim=shape.hidden_width,
        num_layers=shape.layers,
        depthwise_conv_kernel_size=KERNEL_FRAMES,
        dropout=DROPOUT,
    )
    dropout = nn.Dropout(DROPOUT)

    def encode(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        image = convolutions(features.unsqueeze(1))
        # (batch, channel, frame, bin)
        subsampled = dropout(projection(image.transpose(1, 2).flatten(2)))
        encoded, out_lengths = conformer(subsampled, halved(halved(lengths)))
        return encoded, out_lengths

    return _peer(nn.ModuleList([convolutions, projection, dropout, conformer]), encode, shape)


def _espnet(shape: Shape) -> CtcSystem:
    from espnet2.asr.encoder.conformer_encoder import ConformerEncoder

    encoder = ConformerEncoder(
        input_size=MEL_BINS,
        output_size=shape.width,
        attention_heads=HEADS,
        linear_units=shape.hidden_width,
        num_blocks=shape.layers,
        dropout_rate=DROPOUT,
        positional_dropout_rate=DROPOUT,
        attention_dropout_rate=DROPOUT,
        macaron_style=True,
        rel_pos_type="latest",
        pos_enc_layer_type="rel_pos",
        selfattention_layer_type="rel_selfattn",
        cnn_module_kernel=KERNEL_FRAMES,
    )

    def encode(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        encoded, out_lengths, _ = encoder(features, lengths)
        return encoded, out_lengths

    return _peer(encoder, encode, shape)


def _speechbrain(shape: Shape) -> CtcSystem:
    from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
    from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR

    front_end = ConvolutionFrontEnd(
        input_shape=(None, None, MEL_BINS),
        num_blocks=2,
        num_layers_per_block=1,
        out_channels=[shape.width, shape.width],
        kernel_sizes=[3, 3],
        strides=[2, 2],
        residuals=[False, False],
        dropout=0.0,
    )
    encoder = TransformerASR(
        tgt_vocab=VOCAB_SIZE,
        input_size=shape.width * MEL_BINS // 4,
        d_model=shape.width,
        nhead=HEADS,
        num_encoder_layers=shape.layers,
        num_decoder_layers=0,
        d_ffn=shape.hidden_width,
        dropout=DROPOUT,
        positional_encoding=None,
        normalize_before=True,
        kernel_size=KERNEL_FRAMES,
        encoder_module="conformer",
        attention_type="RelPosMHAXL",
        causal=False,
    )

    def encode(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        shares = lengths / features.shape[1]
        encoded = encoder.encode(front_end(features), shares)
        return encoded, (shares * encoded.shape[1]).round().long()

    return _peer(nn.ModuleList([front_end, encoder]), encode, shape)


def _parakeet(shape: Shape) -> CtcSystem:
    from transformers import ParakeetEncoder, ParakeetEncoderConfig

    config = ParakeetEncoderConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=HEADS,
        intermediate_size=shape.hidden_width,
        conv_kernel_size=KERNEL_FRAMES,
        subsampling_factor=4,
        subsampling_conv_channels=shape.width,
        num_mel_bins=MEL_BINS,
        dropout=DROPOUT,
        layerdrop=0.0,
        activation_dropout=DROPOUT,
        attention_dropout=DROPOUT,
    )
    encoder = ParakeetEncoder(config)

    def encode(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        times = torch.arange(features.shape[1], device=features.device)
        output = encoder(features, attention_mask=times < lengths.unsqueeze(1))
        return output.last_hidden_state, output.attention_mask.sum(dim=1)

    return _peer(encoder, encode, shape)


def _peer(
    encoder: nn.Module,
    encode: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    shape: Shape,
) -> CtcSystem:
    head = nn.Linear(shape.width, VOCAB_SIZE + 1)
    model = nn.ModuleList([encoder, head])

    def log_probs(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        encoded, out_lengths = encode(features, lengths)
        return nn.functional.log_softmax(head(encoded), dim=2), out_lengths

    return CtcSystem(
        model=model, log_probs=log_probs, losses=_torch_ctc, groups=list(model.parameters())
    )


def _torch_ctc(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    return nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1), labels, lengths, label_lengths, reduction="none"
    )


SYSTEMS: Mapping[str, SystemEntry] = {
    "attune": SystemEntry(
        build=_attune,
        distribution="attune-asr",
        requirement=None,
        note="relative positions of Transformer-XL",
    ),
    "torchaudio": SystemEntry(
        build=_torchaudio,
        distribution="torchaudio",
        requirement=None,
        note="no positions in attention; plain convolutions stand before it, it has none",
    ),
    "espnet": SystemEntry(
        build=_espnet,
        distribution="espnet",
        requirement="espnet==202511",
        note="rel_selfattn",
    ),
    "speechbrain": SystemEntry(
        build=_speechbrain,
        distribution="speechbrain",
        requirement="speechbrain==1.1.2",
        note="RelPosMHAXL; layer norms in its subsampling and convolution modules",
    ),
    "parakeet": SystemEntry(
        build=_parakeet,
        distribution="transformers",
        requirement="transformers==5.24.0",
        note="depthwise-separable subsampling; no dropout at the end of its modules",
    ),
}
