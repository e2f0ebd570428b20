import pytest
import torch

from asr.devices import find_device


@pytest.mark.parametrize(("has_cuda", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_is_cuda_where_torch_has_it(
    monkeypatch: pytest.MonkeyPatch, *, has_cuda: bool, expected: str
) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch, "empty", lambda *_, device: asked.append(device))
    assert find_device("auto") == torch.device(expected)
    assert asked == [torch.device(expected)]
