from pathlib import Path

import pytest
import torch

from asr.features.normalisation import Normalisation, estimate_normalisation


def test_estimate_equals_statistics_of_all_frames_together(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [5 + 3 * torch.randn(length, 4, generator=generator) for length in (10, 1, 40)]
    frames = torch.cat(parts).double()
    estimated = estimate_normalisation(parts)
    assert estimated.frames == 51
    assert estimated.mean == pytest.approx(frames.mean(dim=0).tolist())
    assert estimated.standard_deviation == pytest.approx(frames.std(dim=0, correction=0).tolist())
    estimated.save(tmp_path / "n.json")
    assert Normalisation.load(tmp_path / "n.json") == estimated


def test_constant_bin_is_left_alone() -> None:
    assert estimate_normalisation([torch.ones(5, 2)]).standard_deviation == (1.0, 1.0)


def test_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected feature frames"):
        estimate_normalisation([])


@pytest.mark.parametrize(
    "text", ["{", '{"mean": [1]}', '{"mean": [1], "standard_deviation": [0], "frames": 1}']
)
def test_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        Normalisation.load(tmp_path / "n.json")
