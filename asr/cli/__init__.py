"""The command `asr`: the only place that knows all stages."""

import logging
import sys
from importlib import import_module

import typer

app = typer.Typer(
    name="asr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, decode and compare speech recognisers.",
)

# Command or group, its module and the name in it, in the order of --help.
_COMMANDS = (
    ("tokenize", "asr.cli.tokenize", "tokenize"),
    ("train", "asr.cli.train", "train"),
    ("decode", "asr.cli.decode", "decode"),
    ("score", "asr.cli.score", "score"),
)


@app.callback()
def configure(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log details to standard error."),
) -> None:
    """Train, decode and compare speech recognisers."""
    logging.basicConfig(
        stream=sys.stderr, format="%(levelname)s %(message)s", level=logging.WARNING
    )
    logging.getLogger("asr").setLevel(logging.DEBUG if verbose else logging.INFO)


def _register() -> None:
    app.add_typer(import_module("asr.cli.prepare").app, name="prepare")
    for name, module, function in _COMMANDS:
        app.command(name)(getattr(import_module(module), function))


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 1."""
    _register()
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
