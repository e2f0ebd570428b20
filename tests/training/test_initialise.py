from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr.config import ExperimentConfig
from asr.ctc import CtcModel, build_model
from asr.training.checkpoint import save_weights
from asr.training.initialise import initialise_from

LoadConfig = Callable[..., ExperimentConfig]


def _model(config: ExperimentConfig, *, seed: int, vocab_size: int = 9) -> CtcModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(config.model, vocab_size=vocab_size, feature_size=20)


def test_all_weights_come_from_the_source(load: LoadConfig, tmp_path: Path) -> None:
    source, model = _model(load(), seed=1), _model(load(), seed=2)
    save_weights(tmp_path / "model.safetensors", source.state_dict())
    initialise_from(model, tmp_path, same_tokenizer=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


_CONDITION = (
    "model.layers=2",
    "model.intermediate_layers=[1]",
    "model.intermediate_weight=0.3",
    "model.intermediate_use=condition",
)


@pytest.mark.parametrize("overrides", [(), _CONDITION])
def test_other_tokens_get_a_new_head(
    *,
    overrides: tuple[str, ...],
    load: LoadConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load(*overrides)
    source, model = _model(config, seed=1), _model(config, seed=2, vocab_size=5)
    head = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    assert len(head) == (4 if overrides else 2)
    save_weights(tmp_path / "model.safetensors", source.state_dict())
    with caplog.at_level("INFO"):
        initialise_from(model, tmp_path, same_tokenizer=False)
    assert "new CTC head" in caplog.text
    assert all(torch.equal(t, head[name]) for name, t in model.head.state_dict().items())
    encoder = source.encoder.state_dict()
    assert all(torch.equal(t, encoder[name]) for name, t in model.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("override", "found"),
    [("model.width=32", r"\(16x?.* instead of 32"), ("model.layers=2", "nothing instead of")],
)
def test_other_architecture_is_one_line(
    override: str, found: str, load: LoadConfig, tmp_path: Path
) -> None:
    save_weights(tmp_path / "model.safetensors", _model(load(), seed=1).state_dict())
    model = _model(load(override), seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=found) as error:
        initialise_from(model, tmp_path, same_tokenizer=True)
    assert "\n" not in str(error.value)
    assert "encoder." in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_folder_without_weights_is_named(load: LoadConfig, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected weights"):
        initialise_from(_model(load(), seed=1), tmp_path, same_tokenizer=True)
