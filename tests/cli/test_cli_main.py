"""The command as a user runs it: in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from asr.cli import app


def _asr(*args: str, trace: bool = False) -> subprocess.CompletedProcess[str]:
    options = ["-X", "importtime"] if trace else []
    command = [sys.executable, *options, "-m", "asr", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _commands(group: TyperGroup, *names: str) -> Iterator[tuple[str, TyperCommand]]:
    """The commands of the command line by their names, those of groups too."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, *names, name)
        else:
            assert isinstance(command, TyperCommand)
            yield " ".join((*names, name)), command


_GROUP = typer.main.get_command(app)
assert isinstance(_GROUP, TyperGroup)
_LEAVES = dict(_commands(_GROUP))


def test_help_names_every_command_in_the_order_of_use_without_torch() -> None:
    result = _asr("--help", trace=True)
    assert result.returncode == 0
    listed = result.stdout.partition("Commands")[2]
    names = re.findall(r"^│ (\S+)", listed, re.MULTILINE)
    assert isinstance(_GROUP, TyperGroup)
    shown = {name for name, command in _GROUP.commands.items() if not command.hidden}
    assert len(names) == len(shown)
    assert set(names) == shown
    use = ("prepare", "tokenize", "train", "decode", "score")
    assert [name for name in names if name in use] == list(use)
    assert re.search(r"\| +typer$", result.stderr, re.MULTILINE)
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name, leaf in _LEAVES.items() if not leaf.hidden])
def test_help_of_a_command_says_what_it_and_each_option_does(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    command = _LEAVES[name]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"asr {name}: {parameter.name}"
        for option in parameter.opts:
            if option.startswith("--") and not getattr(parameter, "hidden", False):
                assert option in result.output


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
