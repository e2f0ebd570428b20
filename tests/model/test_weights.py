from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asr.model.weights import load_weights, read_weights


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=r"w\.safetensors, found no file"):
        read_weights(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"w\.safetensors: expected weights .* a damaged file"):
        read_weights(path)


def test_what_is_read_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(source.state_dict(), path)
    load_weights(model, read_weights(path), path=path)
    assert torch.equal(model.weight, source.weight)
    assert torch.equal(model.bias, source.bias)


def test_another_architecture_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    before = model.bias.clone()
    weights = {"bias": torch.ones(2), "weight": torch.ones(2, 4), "scale": torch.tensor(1.0)}
    with pytest.raises(ValueError, match="weights of the configured architecture") as error:
        load_weights(model, weights, path=tmp_path)
    assert "scale (scalar instead of nothing), weight (2x4 instead of 2x3);" in str(error.value)
    assert "\n" not in str(error.value)
    assert torch.equal(model.bias, before)


def test_many_differences_are_counted() -> None:
    weights = {f"w{number}": torch.ones(1) for number in range(3)}
    with pytest.raises(ValueError, match=r"bias \(nothing .*, w0 .*, w1 .* and 2 more;"):
        load_weights(nn.Linear(1, 1), weights, path=Path("w"))
