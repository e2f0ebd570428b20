"""What every encoder x word pair must keep; new words are tested without a new test."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asr.ctc import CtcModel, SelfConditioningHead, build_model, ctc_losses
from asr.model.attention import Mode, causal, chunked
from asr.model.branches import Branch
from asr.model.encoders import EncoderOutput, EncoderState, parse_encoder
from tests.model.encoders.pairs import CONDITIONED, PAIRS, Pair, served

_BINS = 20
_ALL = [*PAIRS, *CONDITIONED]


def build(pair: Pair, dropout: float = 0.0) -> CtcModel:
    torch.manual_seed(0)
    section = pair.section(dropout=dropout)
    return build_model(parse_encoder(section), vocab_size=9, feature_size=_BINS)


@pytest.fixture(params=_ALL, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    assert isinstance(request.param, Pair)
    return request.param


def _encode(model: CtcModel, *batch: Tensor, **settings: Any) -> EncoderOutput:  # noqa: ANN401
    """What the model's encoder gives."""
    head = model.head if isinstance(model.head, SelfConditioningHead) else None
    output: EncoderOutput = model.encoder(
        *batch, condition=None if head is None else head.condition, **settings
    )
    return output


def _tensors(state: Any) -> list[Tensor]:  # noqa: ANN401
    """All tensors of nested states."""
    if isinstance(state, Tensor):
        return [state]
    return [] if state is None else [tensor for part in state for tensor in _tensors(part)]


def _features(batch: int, time: int) -> Tensor:
    return torch.randn(batch, time, _BINS, generator=torch.Generator().manual_seed(time))


def test_valid_frames_do_not_depend_on_padding_or_batch(pair: Pair) -> None:
    model = build(pair).eval()
    features = _features(1, 90)
    alone = model(features, torch.tensor([90]))
    padded = torch.cat([features, 1e3 * _features(1, 61)], dim=1)
    together = model(torch.cat([padded, _features(1, 151)]), torch.tensor([90, 151]))
    frames = int(alone.lengths[0])
    assert together.lengths.tolist() == [frames, 37]
    ours = together.log_probs[:1, :frames]
    torch.testing.assert_close(ours, alone.log_probs, atol=1e-4, rtol=1e-4)
    assert torch.equal(ours.argmax(dim=2), alone.log_probs.argmax(dim=2))


def test_padding_gets_no_gradient(pair: Pair) -> None:
    model = build(pair).train()
    features = _features(2, 120).requires_grad_()
    output = model(features, torch.tensor([120, 70]))
    labels = torch.randint(1, 9, (2, 4))
    losses = ctc_losses(output.log_probs, output.lengths, labels, torch.tensor([4, 3]))
    torch.autograd.backward(losses.sum())
    assert features.grad is not None
    assert not features.grad[1, 70:].any()
    assert features.grad[1, :67].abs().sum(dim=1).all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_training_statistics_ignore_padding(pair: Pair) -> None:
    features = _features(2, 100)
    models = [build(pair).train() for _ in range(2)]
    lengths = torch.tensor([100, 60])
    models[0](features, lengths)
    garbage = torch.cat([features, 1e3 * _features(2, 40)], dim=1)
    garbage[1, 60:] = 77.0
    models[1](garbage, lengths)
    others = dict(models[1].named_buffers())
    for name, buffer in models[0].named_buffers():
        torch.testing.assert_close(others[name], buffer, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_finite_and_added_up_in_float32(pair: Pair) -> None:
    model = build(pair, dropout=0.1).train()
    streams = []
    for module in model.modules():
        if isinstance(module, Branch):
            module.register_forward_pre_hook(lambda _, args: streams.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(_features(2, 100), torch.tensor([100, 60]))
    assert output.log_probs.dtype == torch.float32
    assert set(streams) == {torch.float32}
    torch.autograd.backward(output.log_probs.mean())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_clip_without_a_frame_is_finite(pair: Pair) -> None:
    output = build(pair).eval()(_features(1, 3), torch.tensor([3]))
    assert output.lengths.tolist() == [0]
    assert output.log_probs.isfinite().all()


def test_weights_survive_saving(pair: Pair) -> None:
    model, other = (build(pair).eval() for _ in range(2))
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(model.state_dict())
    features, lengths = _features(1, 60), torch.tensor([60])
    assert torch.equal(model(features, lengths).log_probs, other(features, lengths).log_probs)


@pytest.mark.parametrize(
    ("pair", "mode"),
    [
        each
        for each in served(_ALL, chunked(4), chunked(4, 8), causal(6))
        if each[0].serves(chunked(4))
    ],
    ids=str,
)
def test_chunk_by_chunk_equals_one_pass(pair: Pair, mode: Mode) -> None:
    model = build(pair).eval()
    features, lengths = _features(2, 151), torch.tensor([151, 90])
    whole = _encode(model, features, lengths, mode=mode)
    assert whole.lengths.tolist() == [37, 21]
    state: EncoderState | None = None
    parts, counts = [], torch.zeros(2, dtype=torch.long)
    # Chunks of four encoder frames: sixteen feature frames, and the first look-ahead.
    for start, end in [(0, 35), (35, 51), (51, 115), (115, 151)]:
        own = (lengths - start).clamp(0, end - start)
        result = _encode(model, features[:, start:end], own, mode=mode, state=state)
        parts.append(result.output)
        counts += result.lengths
        assert result.state is not None
        assert all(
            each.untyped_storage().nbytes() == each.nbytes for each in _tensors(result.state)
        )
        state = result.state.select(torch.tensor([0, 1]))
    assert torch.equal(counts, whole.lengths)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole.output, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("pair", "mode"), served(_ALL, chunked(4), causal()), ids=str)
def test_no_gradient_from_what_the_mode_hides(pair: Pair, mode: Mode) -> None:
    model = build(pair).eval()
    features = _features(1, 151).requires_grad_()
    frame = 17
    output = _encode(model, features, torch.tensor([151]), mode=mode).output
    torch.autograd.backward(output[0, frame].square().sum())
    assert features.grad is not None
    seen = features.grad[0].abs().sum(dim=1) > 0
    last = frame if mode.kind == "causal" else 19
    assert seen[4 * frame]
    assert not seen[4 * (last + 1) + model.encoder.subsampling.lookahead :].any()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.slow
def test_exported_program_equals_eager_at_another_length(pair: Pair) -> None:
    model = build(pair).eval()
    batch = torch.export.Dim("batch", max=64)
    shapes = {
        "features": {
            0: torch.export.Dim("batch", max=64),
            1: torch.export.Dim("time", min=16, max=4096),
        },
        "lengths": {0: batch},
    }
    program = torch.export.export(
        model, (_features(2, 300), torch.tensor([300, 50])), dynamic_shapes=shapes
    )
    features, lengths = _features(3, 133), torch.tensor([133, 40, 90])
    exported = program.module()(features, lengths)
    torch.testing.assert_close(
        exported.log_probs, model(features, lengths).log_probs, atol=1e-5, rtol=1e-5
    )
