"""What a model's equations leave open: dropout, positions, norms and parameter groups."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr.model import CtcModel, build_model
from asr.model.dropout import Dropout
from asr.model.encoders import parse_encoder
from asr.model.feed_forward import FeedForward
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.model.positions import sinusoids
from asr.model.subsampling import Subsampling, SubsamplingConfig


def _model(encoder: str, **settings: object) -> CtcModel:
    torch.manual_seed(0)
    section: dict[str, object] = {
        "encoder": encoder,
        "width": 16,
        "layers": 2,
        "heads": 2,
        "dropout": 0.1,
        "subsampling": {"factor": 4, "channels": 4},
        "attention": {"kind": "full"},
        **settings,
    }
    if encoder == "conformer":
        section["kernel_frames"] = 5
    return build_model(parse_encoder(section), vocab_size=5, feature_size=20)


def _language_model(**settings: Any) -> LanguageModel:  # noqa: ANN401
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.1, "attention": {"kind": "full"}}
    return LanguageModel(LanguageModelConfig(**{**sizes, **settings}), vocab_size=9)


_INPUT = torch.randn(2, 60, 20, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 50])


@pytest.mark.parametrize("model", ["conformer", "lite_transformer", "transformer", "language"])
def test_every_dropout_acts_once_and_those_of_feed_forward_modules_twice(model: str) -> None:
    built = _language_model() if model == "language" else _model(model)
    calls: Counter[str] = Counter()
    expected = {}
    for name, module in built.named_modules():
        if isinstance(module, Dropout | nn.Dropout):
            parent = built.get_submodule(name.rpartition(".")[0])
            expected[name] = 2 if isinstance(parent, FeedForward) else 1
            module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    inputs = (torch.randint(9, (2, 7)), torch.tensor([7, 7])) if model == "language" else _INPUT
    built.train()(*inputs)
    assert len(expected) > 2
    assert calls == expected


def test_frames_alike_are_told_apart_by_their_positions() -> None:
    model = _model("transformer").eval()
    alike = torch.ones(1, 60, 20)
    log_probs = model(alike, torch.tensor([60])).log_probs[0]
    assert len(log_probs) > 10
    assert (log_probs[1:] - log_probs[:-1]).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("kind", ["full", "alibi"])
def test_language_model_begins_with_scaled_embeddings_and_positions(kind: str) -> None:
    model = _language_model(attention={"kind": kind}).eval()
    heard: list[Tensor] = []
    model.stack.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    model(torch.tensor([[0, 3, 3, 5]]), torch.tensor([4]))
    expected = 4.0 * model.embedding[[0, 3, 3, 5]]
    if kind == "full":
        expected = expected + sinusoids(torch.arange(4), 16)
    torch.testing.assert_close(heard[0][0], expected)


def test_what_the_head_sees_of_any_block_is_normalised() -> None:
    model = _model("transformer", intermediate_layers=[1], intermediate_weight=0.3).eval()
    encoded = model.encoder(*_INPUT)
    for output in (encoded.output, *encoded.intermediates):
        frames = output[0, : int(encoded.lengths[0])]
        torch.testing.assert_close(frames.mean(dim=1), torch.zeros(len(frames)), atol=1e-5, rtol=0)
        deviations = frames.std(dim=1, correction=0)
        torch.testing.assert_close(deviations, torch.ones(len(frames)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [4, 8])
def test_subsampling_equals_its_convolutions_with_a_relu_after_each(factor: int) -> None:
    torch.manual_seed(0)
    config = SubsamplingConfig(factor=factor, channels=3)  # type: ignore[arg-type]
    subsampling = Subsampling(config, feature_size=20, width=6)
    features = torch.randn(2, 40, 20)
    weights = [module for module in subsampling.convolutions if not isinstance(module, nn.ReLU)]
    image = features.unsqueeze(1)
    for module in weights:
        weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
        depthwise = weight.shape[1] == 1 < image.shape[1]
        stride = 2 if weight.shape[2] == 3 else 1
        groups = image.shape[1] if depthwise else 1
        image = nn.functional.conv2d(image, weight, bias, stride, groups=groups)
        if not depthwise:
            image = image.relu()
    expected = subsampling.projection(image.permute(0, 2, 3, 1).flatten(2))
    torch.testing.assert_close(subsampling(features), expected)


def test_groups_of_parameters_and_what_muon_may_take() -> None:
    model = _model("conformer", attention={"kind": "adaptive_span", "span": {"rate_factor": 3.0}})
    decaying, others, *spans = model.parameter_groups(learning_rate=0.5, weight_decay=0.1)
    assert [(group["lr"], group["weight_decay"]) for group in spans] == [(1.5, 0.0)] * 2
    assert [len(group["params"]) for group in spans] == [1, 1]
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    kept = {id(parameter) for parameter in others["params"]}
    assert {id(norm.weight) for norm in norms} <= kept
    assert min(parameter.squeeze().dim() for parameter in decaying["params"]) == 2
    linear = {
        id(module.weight)
        for module in model.encoder.stack.modules()
        if isinstance(module, nn.Linear)
    }
    assert {id(matrix) for matrix in model.block_matrices()} == linear


def test_feed_forward_modules_are_as_wide_as_asked_for() -> None:
    model = _model("transformer", feed_forward_expansion=3)
    widths = {
        module.expand.out_features for module in model.modules() if isinstance(module, FeedForward)
    }
    assert widths == {48}
