"""`asr.load` of whole, incomplete and damaged experiments."""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from asr.inference.torch_model import TorchAcousticModel
from asr.recognizer import load


@pytest.fixture
def experiment(tiny_experiment: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_experiment, tmp_path / "exp"))


@pytest.mark.parametrize("name", ["config.toml", "tokenizer.model", "model.safetensors"])
def test_incomplete_experiment(experiment: Path, name: str) -> None:
    (experiment / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} at .*; give the folder of a finished"):
        load(experiment)


def test_missing_normalisation(experiment: Path) -> None:
    (experiment / "normalisation.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"normalisation\.json"):
        load(experiment)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found no folder"):
        load(tmp_path / "none")


def test_language_model_is_no_recognizer(experiment: Path) -> None:
    (experiment / "lm.toml").touch()
    with pytest.raises(ValueError, match=r"expected a recogniser in .*, found a language model"):
        load(experiment)


def test_damaged_weights(experiment: Path) -> None:
    path = experiment / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model.safetensors: expected weights .* damaged"):
        load(experiment)


def test_weights_of_another_architecture(experiment: Path) -> None:
    text = (experiment / "config.toml").read_text()
    (experiment / "config.toml").write_text(text.replace("layers = 2", "layers = 1"))
    with pytest.raises(ValueError, match="weights of the configured architecture") as caught:
        load(experiment)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_loaded(experiment: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, experiment / "model.safetensors")
    with pytest.raises(ValueError, match="expected weights in safetensors format"):
        load(experiment)


@pytest.mark.parametrize("device", ["toaster", "meta:x"])
def test_unknown_device(tiny_experiment: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"expected a device that torch can use, found '{device}'"):
        load(tiny_experiment, device=device)


def test_loaded_weights_are_those_of_the_file(tiny_experiment: Path) -> None:
    acoustic_model = load(tiny_experiment).acoustic_model
    assert isinstance(acoustic_model, TorchAcousticModel)
    model = acoustic_model.model
    assert not model.training
    weights = safetensors.torch.load_file(tiny_experiment / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
