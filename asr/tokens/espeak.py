"""Child processes that run espeak-ng, which is GPL and therefore never loaded into this one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

PACKAGE = "espeakng-loader"


def require_espeak(purpose: str) -> None:
    """Check that the package is there.

    Args:
        purpose: What it is wanted for, as the error says it.

    Raises:
        FileNotFoundError: It is not installed.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise FileNotFoundError(
            f"expected the package {PACKAGE} for {purpose}, found none; "
            "run: tools/setup.sh synthetic"
        )


def run_espeak(program: Path, question: str, *, task: str) -> str:
    """Run a program that loads espeak-ng.

    Args:
        program: A Python file that imports nothing of Attune.
        question: Its standard input.
        task: What espeak-ng is to do, as the error says it.

    Returns:
        Its standard output.

    Raises:
        ChildProcessError: It failed; the message ends with what it said.
    """
    # -P keeps the modules beside the program out of its way.
    run = subprocess.run(
        [sys.executable, "-P", str(program)],
        input=question,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        said = (run.stderr.strip() or "nothing").splitlines()[-1]
        raise ChildProcessError(
            f"expected espeak-ng to {task}, found exit status {run.returncode}; it said: {said}"
        )
    return run.stdout
