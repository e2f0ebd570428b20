"""`asr train`: manifests to an experiment."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file (.toml).")],
    out: Annotated[Path, typer.Option(help="Experiment folder to write; it must be new.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Replace a value of the config, such as data.train=PATH; repeat it for several.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the experiment in --out, where it stopped.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="EXP", help="Experiment folder whose weights to start from."),
    ] = None,
) -> None:
    """Train a recogniser.

    The config, or --set, names data.train, data.validation (manifests) and
    data.tokenizer. Ctrl-C saves and stops; go on with --resume.
    """
    from asr.config import load_config
    from asr.training.run import train as run_training

    outcome = run_training(load_config(config, overrides or []), out, resume=resume, init=init)
    if outcome.already_finished:
        typer.echo(f"{out} is finished ({outcome.step} steps): nothing to do", err=True)
    if outcome.signal is not None:
        typer.echo(f"stopped at step {outcome.step}; continue with --resume", err=True)
        raise typer.Exit(128 + outcome.signal)
