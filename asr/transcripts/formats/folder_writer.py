"""One file for each recording, in a folder."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from asr.files import write_text
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.hypothesis_file import HypothesisRecord, clear_write_errors

# Of Linux's, macOS's and Windows' file systems.
_MAX_NAME_BYTES = 255


class FolderWriter:
    """Writes each hypothesis as it is made into a file of its own, atomically.

    Args:
        path: The folder; it is made where missing, and other files in it are kept.
        suffix: Ending of the files, with its dot; ids with slashes make folders.
        format_file: Gives the text of a file.

    Raises:
        OSError: The folder cannot be made; `append` raises it where a file cannot be written.
    """

    def __init__(
        self, path: Path, *, suffix: str, format_file: Callable[[Hypothesis], str]
    ) -> None:
        self.path = path
        self._suffix = suffix
        self._format_file = format_file
        self._ids: set[str] = set()
        with clear_write_errors(path):
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(0, "a file of that name")
            path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @property
    def place(self) -> str:
        """Where the transcripts are, for messages."""
        return f"in {self.path}"

    unfinished_place = place

    def leave_out(self, record_id: str) -> None:
        """An input without a transcript has no file."""

    def append(self, record: HypothesisRecord) -> None:
        """Put the file of one hypothesis in place.

        Raises:
            ValueError: The id was written before.
            FormatError: The format cannot hold the hypothesis; no file is written.
        """
        if record.id in self._ids:
            raise ValueError(
                f"expected unique ids in {self.path}, found {record.id!r} again; "
                "give each hypothesis its own id"
            )
        path = self.path / (record.id + self._suffix)
        write_text(path, self._format_file(record.hypothesis))
        self._ids.add(record.id)

    def finish(self, order: Sequence[str] | None = None) -> None:
        """Nothing is left to do: every file is in place."""


def check_file_id(record_id: str, *, suffix: str) -> None:
    """Refuse an id that names no file below the folder.

    Raises:
        ValueError: The id is absolute, leads out of the folder, or has a part that is empty or too
            long for a name.
    """
    longest_bytes = max(len(os.fsencode(part)) for part in (record_id + suffix).split("/"))
    if longest_bytes > _MAX_NAME_BYTES:
        raise ValueError(
            f"expected ids that make names of at most {_MAX_NAME_BYTES} bytes, found {record_id!r} "
            f"with {longest_bytes}; give the utterance another id or write jsonl"
        )
    if "\0" in record_id or any(part in ("", ".", "..") for part in record_id.split("/")):
        raise ValueError(
            f"expected ids that name a file below --out, found {record_id!r}; give the utterance "
            "another id or write jsonl"
        )
