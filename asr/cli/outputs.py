"""Check of output files: no command writes over what it reads."""

from collections.abc import Iterable
from pathlib import Path


def check_outputs(outputs: Iterable[Path | None], *, inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Args:
        outputs: Files to be written; None for those that are not asked for.
        inputs: Files that are read.

    Raises:
        ValueError: One is among the others.
    """
    there = {path.resolve(): path for path in outputs if path is not None and path.exists()}
    if not there:
        return
    for path in inputs:
        output = there.get(path.resolve())
        if output is not None:
            raise ValueError(
                f"expected to write to another file than the inputs, found {output} among them; "
                "give another file"
            )
