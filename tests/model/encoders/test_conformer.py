import pytest
import torch

from asr.ctc import build_model
from asr.model.encoders import parse_encoder
from asr.model.encoders.conformer import ConformerConfig


def _section(**settings: object) -> dict[str, object]:
    return {
        "encoder": "conformer",
        "width": 144,
        "layers": 16,
        "heads": 4,
        "kernel_frames": 31,
        "dropout": 0.1,
        "subsampling": {"factor": 4, "channels": settings.get("width", 144)},
        "attention": {"kind": "transformer_xl"},
        **settings,
    }


@pytest.mark.parametrize(
    ("width", "layers", "heads", "millions", "with_head"),
    [(144, 16, 4, 8.7, 8.8), (256, 16, 4, 27.3, 27.5), (512, 17, 8, 114.9, 115.4)],
)
def test_published_sizes(
    width: int, layers: int, heads: int, millions: float, with_head: float
) -> None:
    with torch.device("meta"):
        config = parse_encoder(_section(width=width, layers=layers, heads=heads))
        model = build_model(config, vocab_size=1024)
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters()) / 1e6
    assert encoder == pytest.approx(millions, rel=0.03)
    whole = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert whole == pytest.approx(with_head, rel=0.03)


def test_subsampling_by_eight_has_an_eighth_of_the_frames() -> None:
    section = _section(width=32, layers=1, subsampling={"factor": 8, "channels": 8})
    model = build_model(parse_encoder(section), vocab_size=5).eval()
    output = model(torch.randn(2, 400, 80), torch.tensor([400, 15]))
    assert model.subsampling_factor == 8
    assert output.lengths.tolist() == [49, 1]
    assert [model.output_length(frames) for frames in (14, 15, 400)] == [0, 1, 49]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_frames": 30}, "expected an odd kernel"),
        ({"heads": 5}, "expected an even number of features a head"),
        ({"attention": {"kind": "fulll"}}, "did you mean 'full'"),
        ({"attention": {}}, "model.attention.kind: expected one of"),
        ({"encoder": "conformr"}, "did you mean 'conformer'"),
        ({"widht": 3}, "model.widht: expected a known key, found 'widht'; did you mean 'width'"),
        ({"subsampling": {"factor": 4, "channel": 8}}, "did you mean 'channels'"),
        ({"dropout": 1.0}, "model.dropout: input should be less than 1, found 1.0"),
        ({"norm": "group"}, "model.norm"),
        ({"intermediate_layers": [4]}, "together or neither"),
        ({"intermediate_weight": 0.3}, "together or neither"),
        ({"intermediate_layers": [3, 1], "intermediate_weight": 0.3}, "expected ascending"),
        ({"intermediate_layers": [1, 1], "intermediate_weight": 0.3}, "expected ascending"),
        ({"intermediate_layers": [16], "intermediate_weight": 0.3}, r"in 1 \.\. 15, found \[16\]"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_encoder(_section(**settings))


def test_missing_setting_is_named() -> None:
    section = _section()
    del section["layers"]
    with pytest.raises(ValueError, match=r"model\.layers: expected a value, found none"):
        parse_encoder(section)


def test_too_few_mel_bins_are_refused() -> None:
    config = parse_encoder(_section())
    assert isinstance(config, ConformerConfig)
    with pytest.raises(ValueError, match="expected enough features for 4x subsampling"):
        build_model(config, vocab_size=5, feature_size=4)


def test_empty_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one token piece"):
        build_model(parse_encoder(_section()), vocab_size=0)


def test_biases_and_vectors_do_not_decay() -> None:
    model = build_model(parse_encoder(_section()), vocab_size=5, feature_size=80)
    decaying, others = model.parameter_groups(learning_rate=1.0, weight_decay=0.1)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kept = {names[id(parameter)] for parameter in others["params"]}
    assert {name for name in names.values() if name.endswith("bias")} <= kept
    assert any(name.endswith("scores.content_bias") for name in kept)
    assert {names[id(parameter)] for parameter in decaying["params"]} | kept == set(names.values())
