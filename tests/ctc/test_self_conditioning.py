"""Self-conditioned CTC against its equations."""

import pytest
import torch
from torch import Tensor

from asr.ctc import CtcModel, SelfConditioningHead, build_model
from asr.lengths import valid_mask
from asr.model.attention import OFFLINE
from asr.model.branches import FrameContext
from asr.model.encoders import parse_encoder
from asr.model.stack import Block

_LAYERS = [1, 3]


def _section(encoder: str, **settings: object) -> dict[str, object]:
    sizes = {"kernel_frames": 5} if encoder == "conformer" else {}
    return {
        "encoder": encoder,
        "width": 16,
        "layers": 4,
        "heads": 2,
        "dropout": 0.0,
        "subsampling": {"factor": 4, "channels": 4},
        "attention": {"kind": "transformer_xl"},
        "intermediate_layers": _LAYERS,
        "intermediate_weight": 0.5,
        "intermediate_use": "condition",
        **sizes,
        **settings,
    }


def _model(encoder: str, **settings: object) -> CtcModel:
    torch.manual_seed(0)
    section = parse_encoder(_section(encoder, **settings))
    return build_model(section, vocab_size=7, feature_size=20)


def _naive(model: CtcModel, features: Tensor, lengths: Tensor) -> list[Tensor]:
    """Log-probabilities after the chosen blocks and after the last, from the equations."""
    encoder, head = model.encoder, model.head
    assert isinstance(head, SelfConditioningHead)
    x = encoder.subsampling(features)
    valid = valid_mask(encoder.subsampling.output_length(lengths), x.shape[1])
    found = []
    for number, block in enumerate(encoder.stack.blocks, start=1):
        assert isinstance(block, Block)
        for branch in block.in_order():
            frame_context = FrameContext(valid_mask=valid, mode=OFFLINE)
            x = x + branch.scale * branch(x, frame_context, None).output
        x = block.output_norm(x)
        if number in [*_LAYERS, 4]:
            weight, bias = head.projection.weight, head.projection.bias
            z = torch.softmax(encoder.final_norm(x) @ weight.T + bias, dim=2)
            found.append(z.log())
            x = x + z @ head.feedback.weight.T + head.feedback.bias
    return found


@pytest.mark.parametrize("encoder", ["conformer", "transformer"])
@pytest.mark.parametrize("training", [False, True])
def test_output_equals_the_equations(encoder: str, training: bool) -> None:
    norm = {"norm": "layer"} if encoder == "conformer" else {}
    model = _model(encoder, **norm).train(training)
    features, lengths = torch.randn(2, 70, 20), torch.tensor([70, 50])
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    model.head.projection.register_forward_hook(count)
    output = model(features, lengths)
    assert calls == 3
    *inner, last = _naive(model, features, lengths)
    valid = valid_mask(output.lengths, last.shape[1])
    torch.testing.assert_close(output.log_probs[valid], last[valid], atol=1e-5, rtol=1e-5)
    assert len(output.intermediate_log_probs) == (2 if training else 0)
    for ours, theirs in zip(output.intermediate_log_probs, inner, strict=False):
        torch.testing.assert_close(ours[valid], theirs[valid], atol=1e-5, rtol=1e-5)


def test_the_same_weights_without_conditioning_give_something_else() -> None:
    model, plain = _model("conformer").eval(), _model("conformer", intermediate_use="loss").eval()
    features, lengths = torch.randn(1, 70, 20), torch.tensor([70])
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("head.feedback")}
    plain.load_state_dict(weights)
    conditioned, unconditioned = (each(features, lengths).log_probs for each in (model, plain))
    assert not torch.allclose(conditioned, unconditioned, atol=1e-3)
    for parameter in model.head.get_submodule("feedback").parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(model(features, lengths).log_probs, unconditioned)


def test_later_blocks_teach_the_feedback() -> None:
    model = _model("conformer").train()
    output = model(torch.randn(2, 70, 20), torch.tensor([70, 50]))
    torch.autograd.backward(output.log_probs.square().mean())
    assert isinstance(model.head, SelfConditioningHead)
    gradient = model.head.feedback.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_the_head_is_neither_forgotten_nor_taken_in_vain() -> None:
    features, lengths = torch.randn(1, 70, 20), torch.tensor([70])
    model, plain = _model("conformer"), _model("conformer", intermediate_use="loss")
    with pytest.raises(ValueError, match="found 'condition' without any; call the CtcModel"):
        model.encoder(features, lengths)
    with pytest.raises(ValueError, match="found 'loss' with any"):
        plain.encoder(features, lengths, condition=model.head.condition)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"intermediate_layers": [], "intermediate_weight": 0.0}, "expected intermediate_layers"),
        ({"reversible": True, "norm": "layer"}, "cannot be subtracted again"),
        ({"intermediate_use": "conditon"}, r"model\.intermediate_use"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_encoder(_section("conformer", **settings))
