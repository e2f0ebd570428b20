import sys
from types import SimpleNamespace

import pytest
import torch

from asr import devices
from asr.devices import find_device, peak_memory_bytes


@pytest.mark.parametrize(("has_cuda", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_is_cuda_where_torch_has_it(
    monkeypatch: pytest.MonkeyPatch, *, has_cuda: bool, expected: str
) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch, "empty", lambda *_, device: asked.append(device))
    assert find_device("auto") == torch.device(expected)
    assert asked == [torch.device(expected)]


@pytest.mark.parametrize(("platform", "expected"), [("linux", 7 * 1024), ("darwin", 7)])
def test_resident_memory_is_in_bytes_on_every_system(
    monkeypatch: pytest.MonkeyPatch, *, platform: str, expected: int
) -> None:
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=7))
    monkeypatch.setattr(devices, "resource", usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory_bytes(torch.device("cpu")) == expected


def test_system_without_resident_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "resource", None)
    with pytest.raises(OSError, match="expected a system that tells the peak memory") as error:
        peak_memory_bytes(torch.device("cpu"))
    assert "\n" not in str(error.value)


def test_peak_memory_of_a_gpu_is_what_torch_allocated_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100 + device.index)
    assert peak_memory_bytes(torch.device("cuda", 3)) == 103
