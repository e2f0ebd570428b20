"""Files that are whole or absent: written beside their place, made durable, then renamed."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a crash or a full disk leaves the former one.

    Args:
        path: The file; `NAME.part` beside it is used meanwhile.
        write: Writes the content to a stream.

    Raises:
        OSError: The file could not be written, with the reason; what was at `path` is unchanged.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        # torch.save wraps the system's error into a RuntimeError.
        with contextlib.suppress(OSError):
            part.unlink()
        cause = error
        while not isinstance(cause, OSError) and isinstance(
            cause.__context__, (OSError, RuntimeError)
        ):
            cause = cause.__context__
        reason = (isinstance(cause, OSError) and cause.strerror) or first_line(cause)
        raise OSError(
            f"expected to write {path}, found: {reason}; make room or give a folder that can be "
            "written, then continue with --resume (what was saved before is intact)"
        ) from error
    _sync_folder(path.parent)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
