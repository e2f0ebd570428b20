"""What transcripts are written as."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from asr.transcripts.formats.ctm import check_ctm_id, ctm_lines
from asr.transcripts.formats.folder_writer import FolderWriter, check_file_id
from asr.transcripts.formats.srt import srt
from asr.transcripts.formats.textgrid import textgrid
from asr.transcripts.formats.vtt import vtt
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.hypothesis_file import (
    HypothesisRecord,
    HypothesisWriter,
    check_line_id,
    json_line,
    text_line,
)

Writer: TypeAlias = HypothesisWriter | FolderWriter


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """One file for all recordings.

    Args:
        format_lines: The lines of one recording, for a file in the given folder.
        check_id: Raises ValueError for an id that the file cannot hold; None where it holds all.
    """

    format_lines: Callable[[HypothesisRecord, Path], str]
    check_id: Callable[[str], None] | None = None

    def open(self, path: Path) -> HypothesisWriter:
        """Begin the file."""
        return HypothesisWriter(path, format_lines=self.format_lines)


@dataclass(frozen=True, kw_only=True)
class FolderFormat:
    """One file for each recording.

    Args:
        suffix: Ending of the files, with its dot.
        format_file: The text of a file.
    """

    suffix: str
    format_file: Callable[[Hypothesis], str]

    def check_id(self, record_id: str) -> None:
        """Raise ValueError for an id that names no file below the folder."""
        check_file_id(record_id, suffix=self.suffix)

    def open(self, path: Path) -> FolderWriter:
        """Begin the folder."""
        return FolderWriter(path, suffix=self.suffix, format_file=self.format_file)


FORMATS: dict[str, FileFormat | FolderFormat] = {
    "jsonl": FileFormat(format_lines=json_line),
    "txt": FileFormat(format_lines=text_line, check_id=check_line_id),
    "ctm": FileFormat(format_lines=ctm_lines, check_id=check_ctm_id),
    "srt": FolderFormat(suffix=".srt", format_file=srt),
    "vtt": FolderFormat(suffix=".vtt", format_file=vtt),
    "textgrid": FolderFormat(suffix=".TextGrid", format_file=textgrid),
}


def open_writer(path: Path, name: str, *, ids: Iterable[str]) -> Writer:
    """Begin to write transcripts.

    Args:
        path: File or folder, as the format has it.
        name: A key of FORMATS.
        ids: The ids that will be written.

    Returns:
        The writer, a context manager.

    Raises:
        ValueError: The format cannot hold an id.
        OSError: The file or folder cannot be made.
    """
    chosen = FORMATS[name]
    if chosen.check_id is not None:
        for record_id in ids:
            chosen.check_id(record_id)
    return chosen.open(path)
