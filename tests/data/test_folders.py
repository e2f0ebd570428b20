import os
from pathlib import Path

import pytest

from asr.data.folders import files_below


def test_files_behind_links_are_found_and_loops_end(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / "b").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (folder / "b" / "1.wav", folder / "a.txt", elsewhere / "2.wav"):
        path.touch()
    (folder / "b" / "linked").symlink_to(elsewhere)
    (folder / "b" / "round").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nothing")
    found = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    assert found == ["a.txt", "b/1.wav", "b/linked/2.wav"]


def test_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    (tmp_path / "secret").mkdir()
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError, match="secret"):
        files_below(tmp_path)
