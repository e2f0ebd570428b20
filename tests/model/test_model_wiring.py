"""What a model's equations leave open: dropout, positions, norms and parameter groups."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr.ctc import CtcModel, build_model
from asr.model.branches import FeedForward
from asr.model.convolution import DepthwiseConvolution, MaskedBatchNorm, MaskedLayerNorm
from asr.model.dropout import Dropout
from asr.model.encoders import parse_encoder
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.model.long_short import DynamicConvolution, LightweightConvolution
from asr.model.sinusoids import sinusoids


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
        **({"kernel_frames": 5} if encoder == "conformer" else {}),
        **settings,
    }
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
            assert module.p == 0.1
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


def test_settings_of_convolutions_reach_them() -> None:
    for norm, made in (("batch", MaskedBatchNorm), ("layer", MaskedLayerNorm)):
        model = _model("conformer", norm=norm, kernel_frames=7)
        kernels = [m.kernel for m in model.modules() if isinstance(m, DepthwiseConvolution)]
        assert kernels == [7, 7]
        assert sum(isinstance(module, made) for module in model.modules()) == 2
    settings = {"convolution_heads": 2, "kernel_frames": (3, 5)}
    light = _model("lite_transformer", convolution="lightweight", **settings)
    shapes = [m.weight.shape for m in light.modules() if isinstance(m, LightweightConvolution)]
    assert shapes == [(2, 3), (2, 5)]
    dynamic = _model("lite_transformer", convolution="dynamic", **settings)
    sizes = [(m.heads, m.kernel) for m in dynamic.modules() if isinstance(m, DynamicConvolution)]
    assert sizes == [(2, 3), (2, 5)]


def test_a_fresh_language_model_finds_all_labels_about_as_probable() -> None:
    model = _language_model(width=64, dropout=0.0).eval()
    log_probs = model(torch.randint(10, (4, 20)), torch.full((4,), 20)).log_probs
    torch.testing.assert_close(log_probs, torch.full_like(log_probs, 0.1).log(), atol=1.0, rtol=0)


def test_feed_forward_modules_are_as_wide_as_asked_for() -> None:
    model = _model("transformer", feed_forward_expansion=3)
    widths = {
        module.expand.out_features for module in model.modules() if isinstance(module, FeedForward)
    }
    assert widths == {48}
