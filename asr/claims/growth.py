"""Claims about cost: growth with length, error against features and rounds, reversible layers."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch

from asr.claims.claim import Claim, Curve, Measurement, Thresholds
from asr.claims.cost import operations, peak_bytes, wall_seconds
from asr.claims.frame_model import frame_blocks
from asr.model.attention import OFFLINE, Attention, build_attentions
from asr.model.attention.base import join_heads, split_heads
from asr.model.attention.performer import orthogonal_features
from asr.model.attention.reformer import ReformerAttention
from asr.model.branches import FrameContext
from asr.model.encoders.base import parse_attention
from asr.model.stack import Stack

_WIDTH, _HEADS = 128, 4
_FRAMES = (1024, 2048, 4096, 8192)
_SECTIONS: Mapping[str, dict[str, Any]] = {
    "longformer": {"kind": "longformer", "window_frames": 64},
    "logsparse": {"kind": "logsparse"},
    "performer": {"kind": "performer", "features": 128},
    "linformer": {"kind": "linformer", "slots": 128, "max_length": 8192},
    "dense": {"kind": "transformer_xl"},
}


def _growth(seed: int, thresholds: Thresholds) -> Measurement:
    costs: dict[str, dict[str, list[tuple[float, float]]]] = {"bytes": {}, "flops": {}, "time": {}}
    for name, section in _SECTIONS.items():
        torch.manual_seed(seed)
        (attention,) = build_attentions(
            parse_attention(section), width=_WIDTH, heads=_HEADS, dropout=0.0, layers=1
        )
        for kind, measure in (("bytes", peak_bytes), ("flops", operations), ("time", wall_seconds)):
            costs[kind][name] = [(time, measure(_pass(attention, time))) for time in _FRAMES]

    def ratio(kind: str, name: str, first: int, last: int) -> float:
        points = dict(costs[kind][name])
        return points[last] / points[first]

    linear = [name for name in _SECTIONS if name != "dense"]
    return Measurement(
        values={
            "bytes_ratio_4k_to_8k": max(
                ratio("bytes", name, 4096, 8192) for name in linear if name != "logsparse"
            ),
            "logsparse_bytes_ratio_4k_to_8k": ratio("bytes", "logsparse", 4096, 8192),
            "flops_ratio_4k_to_8k": max(ratio("flops", name, 4096, 8192) for name in linear),
            "time_ratio_2k_to_8k": max(ratio("time", name, 2048, 8192) for name in linear),
            "dense_bytes_ratio_4k_to_8k": ratio("bytes", "dense", 4096, 8192),
        },
        curves=tuple(
            Curve(title=f"Cost of one attention: {kind}", x="frames", y=unit, lines=costs[kind])
            for kind, unit in (
                ("bytes", "peak bytes of a forward pass in training"),
                ("flops", "operations"),
                ("time", "seconds on one thread, without gradient"),
            )
        ),
    )


def _pass(attention: Attention, time: int) -> functools.partial[object]:
    x = torch.randn(1, time, _WIDTH)
    return functools.partial(attention, x, torch.ones(1, time, dtype=torch.bool))


def _performer(seed: int, thresholds: Thresholds) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    head_dim, frames = 16, 256
    query, key, value = (
        0.4 * torch.randn(frames, head_dim, generator=generator, dtype=torch.float64)
        for _ in range(3)
    )
    exact = (query @ key.T / head_dim**0.5).softmax(dim=1) @ value
    points: list[tuple[float, float]] = []
    for features in (64, 256, 1024, 4096):
        rows = orthogonal_features(features, head_dim, generator).double()
        maps = [
            (x @ rows.T - x.square().sum(dim=1, keepdim=True) / 2).exp()
            for x in (query / head_dim**0.25, key / head_dim**0.25)
        ]
        weights = maps[0] @ maps[1].T
        estimate = weights / weights.sum(dim=1, keepdim=True) @ value
        points.append((features, float((estimate - exact).square().mean().sqrt())))
    (first, large), (last, small) = points[0], points[-1]
    return Measurement(
        values={"error_slope": math.log(small / large) / math.log(last / first)},
        curves=(
            Curve(
                title="Error of FAVOR+ against softmax attention",
                x="random features",
                y="root mean square error",
                lines={"orthogonal features": points},
            ),
        ),
    )


@torch.no_grad()
def _reformer(seed: int, thresholds: Thresholds) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(32, 32, generator=generator)
    chosen = torch.randint(32, (512,), generator=generator)
    x = (centres[chosen] + 0.3 * torch.randn(512, 32, generator=generator)).unsqueeze(0)
    points: list[tuple[float, float]] = []
    for rounds in (1, 2, 4, 8, 16):
        torch.manual_seed(seed)
        section = {"kind": "reformer", "bucket_frames": 32, "rounds": rounds}
        (attention,) = build_attentions(
            parse_attention(section), width=32, heads=2, dropout=0.0, layers=1
        )
        assert isinstance(attention, ReformerAttention)
        attention.query_value.weight.mul_(3)
        query, value = split_heads(attention.query_value(x), parts=2, heads=2)
        scores = query @ torch.nn.functional.normalize(query, dim=3).transpose(2, 3)
        scores.diagonal(dim1=2, dim2=3).fill_(-math.inf)
        exact = attention.output(join_heads(scores.softmax(dim=3) @ value))
        output = attention(x, torch.ones(1, 512, dtype=torch.bool)).output
        points.append((rounds, float((output - exact).norm() / exact.norm())))
    return Measurement(
        values={"error_ratio_16_rounds_to_1": points[-1][1] / points[0][1]},
        curves=(
            Curve(
                title="Error of hashed attention against dense attention",
                x="rounds",
                y="relative error",
                lines={"clustered frames": points},
            ),
        ),
    )


def _training_bytes(layers: int, *, reversible: bool) -> float:
    """Peak bytes of a training pass beyond the parameters' gradients."""
    blocks = frame_blocks({"kind": "full"}, layers=layers, width=64)
    stack = Stack(blocks, intermediate_layers=[], reversible=reversible)
    x = torch.randn(4, 256, 64, requires_grad=True)
    around = FrameContext(valid_mask=torch.ones(4, 256, dtype=torch.bool), mode=OFFLINE)

    def step() -> None:
        torch.autograd.backward(stack(x, around, None).output.sum())

    peak = peak_bytes(step)
    return peak - sum(parameter.nbytes for parameter in stack.parameters())


def _reversible(seed: int, thresholds: Thresholds) -> Measurement:
    torch.manual_seed(seed)
    lines = {
        name: [(float(depth), _training_bytes(depth, reversible=flag)) for depth in (2, 4, 8, 16)]
        for name, flag in (("reversible", True), ("plain", False))
    }
    ratios = {name: points[-1][1] / points[0][1] for name, points in lines.items()}
    return Measurement(
        values={
            "bytes_ratio_16_to_2_layers": ratios["reversible"],
            "plain_bytes_ratio_16_to_2_layers": ratios["plain"],
        },
        curves=(
            Curve(
                title="Memory of a training step, parameters' gradients apart",
                x="layers",
                y="peak bytes",
                lines=lines,
            ),
        ),
    )


GROWTH = Claim(
    headline="Longformer, LogSparse, Performer and Linformer grow about linearly with length",
    source="Beltagy et al. 2020; Li et al. 2019; Choromanski et al. 2021; Wang et al. 2020",
    measure=_growth,
)
PERFORMER = Claim(
    headline="The error of FAVOR+ falls with the root of the number of features",
    source="Choromanski et al. 2021",
    measure=_performer,
)
REFORMER = Claim(
    headline="The error of hashed attention falls with the number of rounds",
    source="Kitaev et al. 2020",
    measure=_reformer,
)
REVERSIBLE = Claim(
    headline="The memory of reversible layers hardly grows with depth",
    source="Gomez et al. 2017; Kitaev et al. 2020",
    measure=_reversible,
)
