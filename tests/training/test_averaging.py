from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asr.model.attention import build_attentions
from asr.model.encoders.base import parse_attention
from asr.training.averaging import EpochMean, ExponentialAverage


class _Model(nn.Module):
    statistic: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("statistic", torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("table", torch.zeros(3), persistent=False)


def _set(model: _Model, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)
        model.statistic.fill_(value)
        model.count.fill_(int(value))


def test_moving_average_warms_up_and_includes_buffers() -> None:
    model = _Model()
    average = ExponentialAverage(model, 0.5)
    _set(model, 11.0)
    average.update(1)  # decay min(0.5, 2 / 11)
    assert average.tensors["weight"].tolist() == pytest.approx([9.0, 9.0])
    _set(model, 13.0)
    average.update(100)  # decay 0.5
    assert average.tensors["weight"].tolist() == pytest.approx([11.0, 11.0])
    assert average.tensors["statistic"].tolist() == pytest.approx([11.0])
    assert average.tensors["count"].item() == 13
    assert "table" not in average.tensors


def test_applied_average_gives_the_weights_back() -> None:
    model = _Model()
    average = ExponentialAverage(model, 0.5)
    _set(model, 4.0)
    with average.applied():
        assert model.weight.tolist() == [0.0, 0.0]
    assert model.weight.tolist() == [4.0, 4.0]
    assert average.tensors["weight"].tolist() == [0.0, 0.0]


def test_applied_average_tells_attention_of_its_weights() -> None:
    section = {"kind": "adaptive_span", "span": {"max_frames": 20, "ramp_frames": 8}}
    model, other = (
        build_attentions(parse_attention(section), width=8, heads=2, dropout=0.0, layers=1)[0]
        for _ in range(2)
    )
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5)
    other.after_loading()
    average = ExponentialAverage(model, 0.5)
    average.tensors = dict(other.state_dict())
    x, valid = torch.randn(1, 40, 8), torch.ones(1, 40, dtype=torch.bool)
    own, expected = model(x, valid).output, other(x, valid).output
    with average.applied():
        torch.testing.assert_close(model(x, valid).output, expected)
    torch.testing.assert_close(model(x, valid).output, own)


def test_epoch_mean_takes_the_last_ones(tmp_path: Path) -> None:
    mean = EpochMean(tmp_path, 2)
    for epoch, value in enumerate((100.0, 1.0, 2.0)):
        mean.add(epoch, {"weight": torch.tensor([value]), "count": torch.tensor(epoch)})
    assert mean.mean(0)["weight"].item() == 100.0
    assert mean.mean(2)["weight"].item() == 1.5
    assert mean.mean(2)["count"].item() == 2
    mean.prune(2)
    assert mean.mean(2)["weight"].item() == 1.5
    assert sorted(path.name[:11] for path in tmp_path.iterdir()) == ["epoch-00001", "epoch-00002"]
