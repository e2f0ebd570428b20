"""`asr train`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="Config file (TOML).")],
    out: Annotated[Path, typer.Option(help="Experiment folder to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replace a value of the config."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the experiment in --out.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(help="Experiment or bundle whose weights come first."),
    ] = None,
) -> None:
    """Train a model."""
    from asr.config import load_config
    from asr.training.run import train as run_training

    outcome = run_training(load_config(config, overrides or []), out, resume=resume, init=init)
    if outcome.already_finished:
        typer.echo(f"{out} is finished ({outcome.step} steps): nothing to do", err=True)
    if outcome.signal is not None:
        typer.echo(f"stopped at step {outcome.step}; continue with --resume", err=True)
        raise typer.Exit(128 + outcome.signal)
