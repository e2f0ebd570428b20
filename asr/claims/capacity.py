"""Claims about what a layer is made of: spans, persistent vectors, long and short range."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from asr.claims.claim import Claim, Measurement, Thresholds
from asr.claims.cost import operations
from asr.claims.frame_model import (
    HEADS,
    WIDTH,
    FrameModel,
    loss_of,
    parameter_count,
    train,
    transformer,
)
from asr.claims.tasks import CLASSES, chirps, motifs, noisy_segments, sums
from asr.model.attention import OFFLINE, build_attentions
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.branches import (
    AttentionBranch,
    Branch,
    ConvolutionBranch,
    FeedForwardBranch,
    FrameContext,
    LongShortBranch,
)
from asr.model.convolution import ConvolutionModule
from asr.model.encoders.base import parse_attention
from asr.model.long_short import ShortRange
from asr.model.stack import Block

_SPAN_FRAMES, _RAMP_FRAMES = 96, 8
_KERNELS = (7, 15)


def _span_model(seed: int, **span: float) -> FrameModel:
    torch.manual_seed(seed)
    own = {"max_frames": _SPAN_FRAMES, "ramp_frames": _RAMP_FRAMES, "initial_fraction": 1.0}
    return transformer({"kind": "adaptive_span", "positions": "none", "span": own | span})


def _spans(model: FrameModel) -> list[Tensor]:
    found = [each.scores.span for each in model.attentions() if isinstance(each, SoftmaxAttention)]
    return [span.fraction for span in found if span is not None]


def _adaptive_span(seed: int, thresholds: Thresholds) -> Measurement:
    learned = _span_model(seed, loss_weight=2e-3, rate_factor=5.0)
    frozen = _span_model(seed, loss_weight=0.0)
    for fraction in _spans(frozen):
        fraction.requires_grad_(False)
    for model in (learned, frozen):
        train(model, noisy_segments, time=_SPAN_FRAMES, seed=seed)
    losses = [loss_of(model, noisy_segments, time=_SPAN_FRAMES) for model in (learned, frozen)]
    x = torch.randn(4, _SPAN_FRAMES, WIDTH)
    valid = torch.ones(4, _SPAN_FRAMES, dtype=torch.bool)
    trimmed, full = learned.attentions()[0], frozen.attentions()[0]
    with torch.no_grad():
        difference = (trimmed(x, valid).output - trimmed.reference(x, valid)).abs().max()
    counts = [
        operations(functools.partial(each, x, valid), products_only=True)
        for each in (trimmed, full)
    ]
    return Measurement(
        values={
            "mean_span_fraction": float(torch.stack(_spans(learned)).detach().mean()),
            "loss_ratio": losses[0] / losses[1],
            "flops_ratio": counts[0] / counts[1],
            "trimmed_difference": float(difference),
        }
    )


def _all_attention(seed: int, thresholds: Thresholds) -> Measurement:
    sections: Mapping[str, tuple[dict[str, Any], int]] = {
        "feed_forward": ({"kind": "full"}, 4),
        "no_feed_forward": ({"kind": "full"}, 0),
        "all_attention": ({"kind": "all_attention", "positions": "none"}, 0),
    }
    losses, sizes = {}, {}
    for name, (section, feed_forward) in sections.items():
        torch.manual_seed(seed)
        model = transformer(section, features=2 * CLASSES, feed_forward=feed_forward)
        train(model, sums, time=48, seed=seed)
        losses[name] = loss_of(model, sums, time=48)
        sizes[name] = parameter_count(model)
    ours, slack = losses["all_attention"], thresholds["loss_slack"]
    return Measurement(
        values={
            "parameters_ratio": sizes["all_attention"] / sizes["feed_forward"],
            "loss_ratio_to_feed_forward": max(0.0, ours - slack) / losses["feed_forward"],
            "loss_ratio_to_no_feed_forward": ours / losses["no_feed_forward"],
        }
    )


def _lite_blocks() -> list[Block]:
    half = WIDTH // 2
    attentions = build_attentions(
        parse_attention({"kind": "full"}), width=half, heads=HEADS, dropout=0.0, layers=2
    )
    blocks = []
    for attention, kernel in zip(attentions, _KERNELS, strict=True):
        short = ShortRange("lightweight", width=half, heads=HEADS, kernel=kernel, dropout=0.0)
        branches: list[Branch] = [
            LongShortBranch(attention, short, width=WIDTH, dropout=0.0),
            FeedForwardBranch(width=WIDTH, hidden_width=WIDTH, dropout=0.0),
        ]
        blocks.append(Block(branches))
    return blocks


def _lite_transformer(seed: int, thresholds: Thresholds) -> Measurement:
    torch.manual_seed(seed)
    standard = transformer({"kind": "full"}, adds_positions=True)
    torch.manual_seed(seed)
    lite = FrameModel(_lite_blocks(), features=CLASSES, width=WIDTH, adds_positions=True)
    for model in (standard, lite):
        train(model, noisy_segments, time=96, seed=seed)
    losses = [loss_of(model, noisy_segments, time=96) for model in (standard, lite)]
    x, valid = torch.randn(1, 96, WIDTH), torch.ones(1, 96, dtype=torch.bool)
    frame_context = FrameContext(valid_mask=valid, mode=OFFLINE)
    counts = [
        operations(functools.partial(model.stack.eval(), x, frame_context, None))
        for model in (standard, lite)
    ]
    return Measurement(
        values={
            "multiply_adds_ratio": counts[1] / counts[0],
            "loss_ratio": losses[1] / losses[0],
        }
    )


def _logsparse(seed: int, thresholds: Thresholds) -> Measurement:
    losses = []
    for kernel in (4, 1):
        torch.manual_seed(seed)
        section = {"kind": "logsparse", "local_frames": 31, "query_key_kernel_frames": kernel}
        model = transformer(section, features=4 + CLASSES, layers=1)
        train(model, motifs, time=32, seed=seed)
        losses.append(loss_of(model, motifs, time=32))
    return Measurement(values={"loss_ratio_of_convolution": losses[0] / losses[1]})


def _conformer_blocks(*, convolution: bool, macaron: bool) -> list[Block]:
    attentions = build_attentions(
        parse_attention({"kind": "transformer_xl"}), width=WIDTH, heads=HEADS, dropout=0.0, layers=2
    )

    def feed_forward(scale: float) -> FeedForwardBranch:
        return FeedForwardBranch(width=WIDTH, hidden_width=4 * WIDTH, dropout=0.0, scale=scale)

    blocks = []
    for attention in attentions:
        branches: list[Branch] = [AttentionBranch(attention, width=WIDTH, dropout=0.0)]
        if convolution:
            module = ConvolutionModule(width=WIDTH, kernel=7, norm="batch", dropout=0.0)
            branches.append(ConvolutionBranch(module))
        if macaron:
            branches = [feed_forward(0.5), *branches, feed_forward(0.5)]
        else:
            branches.append(feed_forward(1.0))
        blocks.append(Block(branches, output_norm=nn.LayerNorm(WIDTH)))
    return blocks


def _conformer(seed: int, thresholds: Thresholds) -> Measurement:
    losses = {}
    for name, convolution, macaron in (
        ("whole", True, True),
        ("no convolution", False, True),
        ("no macaron", True, False),
    ):
        torch.manual_seed(seed)
        blocks = _conformer_blocks(convolution=convolution, macaron=macaron)
        model = FrameModel(blocks, features=16, width=WIDTH, adds_positions=False)
        train(model, chirps, time=64, seed=seed, steps=400)
        losses[name] = loss_of(model, chirps, time=64)
    return Measurement(
        values={
            "loss_ratio_without_convolution": losses["no convolution"] / losses["whole"],
            "loss_ratio_without_macaron": losses["no macaron"] / losses["whole"],
        }
    )


ADAPTIVE_SPAN = Claim(
    headline="Learned spans shrink to what the task needs, and operations with them, at no loss",
    source="Sukhbaatar et al. 2019 (Adaptive Attention Span)",
    measure=_adaptive_span,
)
ALL_ATTENTION = Claim(
    headline="Persistent vectors do the work of the feed-forward module at equal parameters",
    source="Sukhbaatar et al. 2019 (Persistent Memory)",
    measure=_all_attention,
)
LITE_TRANSFORMER = Claim(
    headline="Long-short range attention reaches the loss at under half the multiply-adds",
    source="Wu et al. 2020",
    measure=_lite_transformer,
)
LOGSPARSE = Claim(
    headline="Convolutional queries and keys find shapes that single frames cannot tell apart",
    source="Li et al. 2019",
    measure=_logsparse,
)
CONFORMER = Claim(
    headline="The convolution module and the two half feed-forward modules matter, the former more",
    source="Gulati et al. 2020",
    measure=_conformer,
)
