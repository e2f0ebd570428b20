"""The command `asr`: the only place that knows all stages.

Commands import what needs torch when they run, so that help and wrong usage take no time.
"""

import logging
import os
import sys

import typer
from typer.core import TyperGroup

from asr import __version__
from asr.cli import (
    align,
    attention,
    claims,
    decode,
    lm,
    prepare,
    pronounce,
    rescore,
    score,
    tokenize,
    train,
)

_COMMANDS = (
    "prepare",
    "pronounce",
    "tokenize",
    "train",
    "decode",
    "align",
    "rescore",
    "score",
    "attention",
    "lm",
    "claims",
)


class _InOrderOfUse(TyperGroup):
    """Lists commands in the order of their use; typer would put `prepare`, a group, last."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=_COMMANDS.index)


app = typer.Typer(
    name="asr",
    cls=_InOrderOfUse,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(prepare.app, name="prepare")
app.command()(pronounce.pronounce)
app.command()(tokenize.tokenize)
app.command()(train.train)
app.command()(decode.decode)
app.command()(align.align)
app.command()(rescore.rescore)
app.command()(score.score)
app.command()(attention.attention)
app.add_typer(lm.app, name="lm")
app.command()(claims.claims)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def configure(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log details to standard error."),
    _version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Train, decode and compare speech recognisers.

    From a corpus to a word error rate: prepare, tokenize, train, decode, score.
    """
    logging.basicConfig(
        stream=sys.stderr, format="%(levelname)s %(message)s", level=logging.WARNING
    )
    logging.getLogger("asr").setLevel(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 1."""
    # oneDNN keeps 1024 compiled kernels; a model needs about a hundred for each shape of batch.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    # GNU OpenMP's threads spin 300,000 times for one another before they sleep, and so hold up one
    # that has no core because of other work.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "40000")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except (ValueError, OSError, MemoryError) as error:
        logging.getLogger(__name__).debug("where it happened", exc_info=True)
        print("error:", " ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)
