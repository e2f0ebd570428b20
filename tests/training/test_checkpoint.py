import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.files import write_atomically
from asr.model.weights import read_weights
from asr.training.checkpoint import (
    Checkpoint,
    TrainingProgress,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        progress=TrainingProgress(
            epoch=1, next_batch=2, step=step, window={"nats": 0.1, "labels": 2.0}
        ),
        model={"weight": torch.full((1000,), float(step))},
        optimizer={"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        average={},
    )


def test_checkpoint_comes_back_and_only_the_newest_stay(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save_checkpoint(tmp_path, _checkpoint(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.pt",
        "step-00000100.pt",
    ]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    loaded = load_checkpoint(newest)
    assert loaded.progress == _checkpoint(100).progress
    assert torch.equal(loaded.model["weight"], torch.full((1000,), 100.0))
    assert loaded.optimizer["param_groups"] == [{"lr": 0.1}]


def test_sums_of_format_1_get_their_names(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(1), keep=1)
    content = torch.load(path, weights_only=True)
    content["format"] = 1
    content["progress"]["window"] = [float(number) for number in range(1, 9)]
    torch.save(content, path)
    window = load_checkpoint(path).progress.window
    # Written before the last two sums were added.
    assert (len(window), window["nats"], window["amount"], window["consistency"]) == (8, 1, 5, 8)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent") is None
    (tmp_path / "step-00000001.pt.part").touch()
    assert latest_checkpoint(tmp_path) is None


class _FullDisk(io.BytesIO):
    """Takes 100 bytes."""

    def write(self, data: Any) -> int:  # noqa: ANN401
        if self.tell() + len(data) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = save_checkpoint(tmp_path, _checkpoint(1), keep=1)
    content = old.read_bytes()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, stream: save(state, _FullDisk()))
    with pytest.raises(
        OSError, match=r"step-00000002\.pt, found: No space left on device; make"
    ) as e:
        save_checkpoint(tmp_path, _checkpoint(2), keep=1)
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == content


def test_file_size_limit_of_the_system_is_reported(tmp_path: Path) -> None:
    # The real thing: the kernel refuses to write more.
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, former[1]))
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, lambda stream: torch.save(torch.zeros(100_000), stream))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = tmp_path / "absent"
        reason = "No such file or directory"
    else:
        folder = tmp_path
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        reason = "Permission denied"
    with pytest.raises(OSError, match=reason):
        write_atomically(folder / "file", lambda stream: stream.write(b"new"))
    tmp_path.chmod(stat.S_IRWXU)


def test_nothing_passes_through_the_systems_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "checkpoints").mkdir()
    assert save_checkpoint(tmp_path / "checkpoints", _checkpoint(1), keep=1).is_file()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"step-00000001\.pt, found a damaged file"):
        load_checkpoint(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"format": 1, "progress": _checkpoint(1)}, path)
    with pytest.raises(ValueError, match="damaged file"):
        load_checkpoint(path)


def test_other_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match=r"expected a checkpoint of format 2 .*found 99"):
        load_checkpoint(path)


def test_weights_that_share_memory_are_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "w.safetensors", {"a": weight, "b": weight, "t": weight.T})
    loaded = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(loaded["b"], weight)
    assert torch.equal(loaded["t"], weight.T)
