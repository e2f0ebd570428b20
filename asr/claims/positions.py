"""Claims about positions and memory: ALiBi and Transformer-XL."""

import functools

import torch
from torch import Tensor

from asr.claims.claim import Claim, Curve, Measurement, Thresholds
from asr.claims.cost import wall_seconds
from asr.claims.frame_model import FrameModel, accuracy_of, loss_of, train, transformer
from asr.claims.tasks import CLASSES, cue, noisy_segments
from asr.model.attention import chunked
from asr.model.branches import FrameContext
from asr.model.stack import BranchStates

_TRAINED_FRAMES = 64
_FRAMES = (64, 128, 256, 512, 1024)
_CHUNK_FRAMES, _LEFT_FRAMES = 16, 64


def _alibi(seed: int, thresholds: Thresholds) -> Measurement:
    losses = {}
    for name, section, adds_positions in (
        ("alibi", {"kind": "alibi"}, False),
        ("sinusoidal", {"kind": "full"}, True),
    ):
        torch.manual_seed(seed)
        model = transformer(section, adds_positions=adds_positions)
        train(model, noisy_segments, time=_TRAINED_FRAMES, seed=seed)
        losses[name] = {time: loss_of(model, noisy_segments, time=time) for time in _FRAMES}
    return Measurement(
        values={
            "loss_ratio_16x": losses["alibi"][1024] / losses["alibi"][64],
            "sinusoidal_loss_ratio_4x": losses["sinusoidal"][256] / losses["sinusoidal"][64],
        },
        curves=(
            Curve(
                title=f"Loss against length, trained at {_TRAINED_FRAMES} frames",
                x="frames",
                y="cross-entropy in nats",
                lines={name: list(points.items()) for name, points in losses.items()},
            ),
        ),
    )


@torch.no_grad()
def _stepped(model: FrameModel, inputs: Tensor) -> Tensor:
    """The stack's output, chunk by chunk with memory."""
    mode = chunked(_CHUNK_FRAMES, _LEFT_FRAMES)
    states: BranchStates | None = None
    outputs = []
    for part in torch.split(inputs, _CHUNK_FRAMES, dim=1):
        result = model.run(part, mode=mode, states=states)
        states = result.states
        outputs.append(result.output)
    return torch.cat(outputs, dim=1)


@torch.no_grad()
def _recomputed(model: FrameModel, inputs: Tensor, *, receptive_frames: int) -> Tensor:
    """The stack's output, computing for each chunk all that it depends on."""
    mode = chunked(_CHUNK_FRAMES, _LEFT_FRAMES)
    outputs = []
    for start in range(0, inputs.shape[1], _CHUNK_FRAMES):
        part = inputs[:, max(0, start - receptive_frames) : start + _CHUNK_FRAMES]
        x = model.input(part)
        valid = torch.ones(x.shape[:2], dtype=torch.bool)
        output = model.stack(x, FrameContext(valid_mask=valid, mode=mode), None).output
        outputs.append(output[:, -_CHUNK_FRAMES:])
    return torch.cat(outputs, dim=1)


def _cue_accuracy(seed: int, *, left: int) -> float:
    """Accuracy of naming a class two chunks back; chunks of 8 frames, two layers."""
    mode, task = chunked(8, left), functools.partial(cue, distance=17)
    torch.manual_seed(seed)
    model = transformer({"kind": "transformer_xl"}, features=CLASSES + 1)
    train(model, task, time=24, seed=seed, mode=mode)
    return accuracy_of(model, task, time=24, mode=mode)


def _transformer_xl(seed: int, thresholds: Thresholds) -> Measurement:
    torch.manual_seed(seed)
    layers = 6
    model = transformer({"kind": "transformer_xl"}, layers=layers, width=128).eval()
    inputs = torch.randn(1, 1024, CLASSES)
    with torch.no_grad():
        mode = chunked(_CHUNK_FRAMES, _LEFT_FRAMES)
        whole = model.run(inputs, mode=mode, states=None).output
    difference = float((_stepped(model, inputs) - whole).abs().max())
    receptive = layers * _LEFT_FRAMES
    slow = wall_seconds(lambda: _recomputed(model, inputs, receptive_frames=receptive), repeats=1)
    return Measurement(
        values={
            "cached_difference": difference,
            "speedup": slow / wall_seconds(lambda: _stepped(model, inputs)),
            "accuracy_with_memory": _cue_accuracy(seed, left=8),
            "accuracy_without_memory": _cue_accuracy(seed, left=0),
        }
    )


ALIBI = Claim(
    headline="Trained on short inputs, ALiBi is as good on inputs 16 times as long, where "
    "sinusoidal positions fail at 4 times",
    source="Press et al. 2022",
    measure=_alibi,
)
TRANSFORMER_XL = Claim(
    headline="Evaluation with memory is exact and many times faster than recomputing the context, "
    "and memory carries what lies before the previous segment",
    source="Dai et al. 2019",
    measure=_transformer_xl,
)
