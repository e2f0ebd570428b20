"""`asr train`: manifests to an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from asr.training.run import TrainingOutcome


def train(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="Config file (.toml), or the name of one that comes with the package, such as "
            "conformer_tiny.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Experiment folder to write; it must be new.")],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Replace a value of the config, such as data.train=PATH; repeat it for several.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where the experiment in --out stopped, or begin."),
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="EXP", help="Experiment folder whose weights to start from."),
    ] = None,
    init_statistics: Annotated[
        Literal["keep", "estimate"] | None,
        typer.Option(
            help="Feature statistics with --init. keep: those that its weights were trained with; "
            "estimate: those of the new training data.",
            show_default="keep; estimate where EXP has none or other [features]",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only try the largest batch and a few others; print size, memory, steps, speed "
            "and hours. Nothing stays in --out.",
        ),
    ] = False,
) -> None:
    """Train a recogniser.

    The config, or --set, names data.train, data.validation (manifests) and
    data.tokenizer. Ctrl-C saves and stops; go on with --resume.
    """
    from asr.config import load_config
    from asr.training.dry_run import dry_run as try_training
    from asr.training.run import train as run_training

    if init_statistics is not None and init is None:
        raise typer.BadParameter("expected --init with --init-statistics, found none; add --init")
    loaded = load_config(config, overrides or [])
    if dry_run:
        if resume:
            raise typer.BadParameter("expected --dry-run or --resume, found both; leave one out")
        found = try_training(loaded, out, init=init, init_statistics=init_statistics)
        if found is not None:
            typer.echo(found.summary())
        return
    outcome = run_training(loaded, out, resume=resume, init=init, init_statistics=init_statistics)
    report_outcome(outcome, out)


def report_outcome(outcome: TrainingOutcome, out: Path) -> None:
    """Say how training ended; exit with the status of the signal that stopped it."""
    if outcome.already_finished:
        typer.echo(f"{out} is finished ({outcome.step} steps): nothing to do", err=True)
    if outcome.signal is not None:
        typer.echo(f"stopped at step {outcome.step}; continue with --resume", err=True)
        raise typer.Exit(128 + outcome.signal)
