"""The command as a user runs it: in a process of its own."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest


def _asr(*args: str, trace: bool = False) -> subprocess.CompletedProcess[str]:
    options = ["-X", "importtime"] if trace else []
    command = [sys.executable, *options, "-m", "asr", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command_in_the_order_of_use_without_torch() -> None:
    result = _asr("--help", trace=True)
    assert result.returncode == 0
    listed = result.stdout.partition("Commands")[2]
    names = re.findall(r"│ (prepare|tokenize|train|decode|score|attention|lm|claims) ", listed)
    assert names == ["prepare", "tokenize", "train", "decode", "score", "attention", "lm", "claims"]
    assert re.search(r"\| +typer$", result.stderr, re.MULTILINE)
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)


def test_version_is_the_distributions() -> None:
    result = _asr("--version")
    assert (result.returncode, result.stdout) == (0, version("attune-asr") + "\n")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("score", "--ref", "no.jsonl", "--hyp", "no.jsonl"), 1, "error: expected a manifest"),
        (("traim",), 2, "No such command"),
        (("train",), 2, "Missing argument"),
        (("decode", "exp"), 2, "Missing argument"),
    ],
)
def test_mistake_ends_in_one_line_without_traceback(
    args: tuple[str, ...], status: int, message: str
) -> None:
    result = _asr(*args)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if status == 1:
        assert result.stderr.count("\n") == 1
    assert not result.stdout
