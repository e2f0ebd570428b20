"""Whole-or-absent file writes, and the names of an experiment's files."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CONFIG_FILE = "config.toml"
"""The resolved config of an experiment or a neural language model."""
TOKENIZER_FILE = "tokenizer.model"
"""The tokenizer of an experiment or a language model."""
WEIGHTS_FILE = "model.safetensors"
"""The averaged weights."""
NORMALISATION_FILE = "normalisation.json"
"""Statistics of the features."""
METRICS_FILE = "metrics.csv"
"""The table of metrics."""
PROVENANCE_FILE = "provenance.json"
"""What the weights were made from."""
LM_DESCRIPTION_FILE = "lm.toml"
"""What kind of language model a folder holds; no recogniser has this file."""
ARPA_FILE = "ngram.arpa"
"""The n-grams of a language model over token pieces."""

_MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class Experiment:
    """Paths inside an experiment folder.

    Args:
        root: The folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.root / CONFIG_FILE

    @property
    def tokenizer(self) -> Path:
        """The tokenizer."""
        return self.root / TOKENIZER_FILE

    @property
    def weights(self) -> Path:
        """The averaged weights."""
        return self.root / WEIGHTS_FILE

    @property
    def normalisation(self) -> Path:
        """Statistics of the features."""
        return self.root / NORMALISATION_FILE

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The table of metrics."""
        return self.root / METRICS_FILE

    @property
    def events(self) -> Path:
        """Folder of the TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def provenance(self) -> Path:
        """What the weights were made from."""
        return self.root / PROVENANCE_FILE


def partial_path(path: Path) -> Path:
    """Name beside a file under which its content is written until it is whole."""
    name = f"{path.name}.part"
    # The file's own name may be as long as the file system allows.
    return path.with_name(
        f".{os.getpid()}.part" if len(os.fsencode(name)) > _MAX_NAME_BYTES else name
    )


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Atomic write: a crash or a full disk leaves the former file, or none.

    Args:
        path: The file, in a folder that is there.

    Yields:
        The partial file to write in its place. At the end of the context it is made durable and
        renamed; after an error it is removed.

    Raises:
        OSError: The file could not be written, with the reason; what was at `path` is unchanged.
    """
    part = partial_path(path)
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if reason := _system_reason(error, names=(None, str(part), str(path))):
            raise OSError(
                f"expected to write {path}, found: {reason}; make room or give a place that can "
                "be written (what was there before is intact)"
            ) from error
        raise


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Atomic write of what a function puts into a stream; see `whole_or_absent`."""
    with whole_or_absent(path) as part, part.open("wb") as stream:
        write(stream)


def write_text(path: Path, text: str) -> None:
    """Atomic write of text in UTF-8, in a folder that is made where missing.

    A pipe or device of that name is written to as it is.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda stream: stream.write(text.encode()))


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _system_reason(error: BaseException, *, names: Collection[str | None]) -> str | None:
    """Why the operating system refused these files; None where the error is of another kind.

    torch.save wraps the system's error into a RuntimeError. What the content is made from may fail
    to be read: such an error has another file's name, or no number.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__ if isinstance(cause, RuntimeError) else None
    if cause is None or cause.errno is None or cause.filename not in names:
        return None
    return cause.strerror or first_line(cause)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
