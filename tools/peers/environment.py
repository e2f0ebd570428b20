"""A virtual environment for the peers, which borrows PyTorch from the one that runs this."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

# Read by every start of that environment's interpreter: folders to look into after its own.
_BORROWED = "attune_borrowed.pth"


def prepare(folder: Path, requirements: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """Make the environment and install what it lacks.

    Packages of the running interpreter are seen there too, its own first. PyTorch is asked for
    in the running version with each peer, so that no peer brings another one: pip installs it only
    where borrowing did not work.

    Args:
        folder: The environment.
        requirements: Packages with versions, installed one after another.

    Returns:
        The environment's interpreter, and why a requirement could not be installed, by requirement.

    Raises:
        RuntimeError: The environment could not be made.
    """
    python = folder / "bin" / "python"
    # All of it every time: what an interrupted run left is completed, what is there stays.
    _run([sys.executable, "-m", "venv", str(folder)])
    own = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    borrowed = [path for path in sys.path if Path(path).name.endswith("-packages")]
    (Path(own.strip()) / _BORROWED).write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    pinned = [f"{name}=={version(name)}" for name in ("torch", "torchaudio")]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    failures = {}
    for requirement in requirements:
        try:
            _run([*install, requirement, *pinned])
        except RuntimeError as error:
            failures[requirement] = str(error)
    return python, failures


def _run(command: Sequence[str]) -> str:
    """What a command prints.

    Raises:
        RuntimeError: It failed; the message is the last line that it wrote.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise RuntimeError(
            f"expected {command[0]} to end with status 0, found {done.returncode}: {lines[-1]}"
        )
    return done.stdout
