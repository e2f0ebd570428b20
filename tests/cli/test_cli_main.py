"""The command as a user runs it: in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest


def _asr(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command() -> None:
    result = _asr("--help")
    assert result.returncode == 0
    for command in ("prepare", "tokenize", "train", "decode", "score"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("train", "none.toml", "--out", "exp"), 1, "error: expected a config at none.toml"),
        (("score", "--ref", "no.jsonl", "--hyp", "no.jsonl"), 1, "error: expected a manifest"),
        (("traim",), 2, "No such command"),
        (("train",), 2, "Missing argument"),
    ],
)
def test_mistake_ends_in_one_line_without_traceback(
    args: tuple[str, ...], status: int, message: str, tmp_path: Path
) -> None:
    result = _asr(*args)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if status == 1:
        assert result.stderr.count("\n") == 1
    assert not result.stdout
