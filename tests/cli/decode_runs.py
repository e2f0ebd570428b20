"""`asr decode` in this process."""

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from asr.cli.decode import decode

RATE_HZ = 16000


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(decode)


def run(*arguments: str | Path | int, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
