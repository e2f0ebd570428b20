"""Recursive listing of files, behind links to folders too."""

import os
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, also behind links to folders.

    Args:
        folder: An existing folder.

    Returns:
        The files in the order of their paths.

    Raises:
        OSError: A subfolder cannot be read.
    """
    found = []
    for place, subfolders, names in os.walk(folder, onerror=_fail, followlinks=True):
        here = Path(place)
        real = here.resolve()
        # A link to a folder above would lead round and round.
        subfolders[:] = [
            name for name in subfolders if not real.is_relative_to((here / name).resolve())
        ]
        found += [path for path in (here / name for name in names) if path.is_file()]
    return sorted(found)


def _fail(error: OSError) -> None:
    raise error
