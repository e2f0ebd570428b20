"""Formats of transcripts: JSON lines, text, CTM, SRT, WebVTT and TextGrid."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from asr.transcripts.formats.ctm import check_ctm_id, ctm_lines
from asr.transcripts.formats.folder_writer import FolderWriter, check_file_id
from asr.transcripts.formats.srt import srt
from asr.transcripts.formats.stream_writer import StreamWriter
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


class Writer(Protocol):
    """What writes the transcripts of a run, as a context manager."""

    @property
    def place(self) -> str:
        """Where the transcripts are once they are finished, for messages, such as `in hyp.txt`."""

    @property
    def unfinished_place(self) -> str:
        """Where they are before that."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def append(self, record: HypothesisRecord) -> None:
        """Take one transcript, in any order.

        Raises:
            FormatError: The format cannot hold the transcript; nothing of it is written.
        """

    def leave_out(self, record_id: str) -> None:
        """Take an input that has no transcript."""

    def finish(self, order: Sequence[str] | None = None) -> None:
        """End the output, its transcripts in the order of these ids."""


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

    def format_text(self, record: HypothesisRecord) -> str:
        """The lines of one recording, ends included, for a stream in the working folder."""
        lines = self.format_lines(record, Path.cwd())
        return lines + "\n" if lines else ""


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

    def format_text(self, record: HypothesisRecord) -> str:
        """The text of the recording's file, for a stream."""
        return self.format_file(record.hypothesis)


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
    _check_ids(chosen, ids)
    return chosen.open(path)


def open_stream_writer(stream: TextIO, name: str | None, *, ids: Sequence[str]) -> Writer:
    """Begin to write transcripts to a stream, such as standard output.

    Args:
        stream: The stream.
        name: A key of FORMATS; None for the text alone, a line an input, empty where an input has
            no transcript.
        ids: The inputs in order; one alone where the format has a file for each.

    Returns:
        The writer, a context manager.

    Raises:
        ValueError: The format cannot hold an id, or has a file for each of several inputs.
    """
    if name is None:
        return StreamWriter(stream, ids=ids, format_text=_text_alone, without_transcript="\n")
    chosen = FORMATS[name]
    if isinstance(chosen, FolderFormat) and len(ids) > 1:
        raise ValueError(
            f"expected one recording for a stream of {name}, found {len(ids)}; write a folder"
        )
    _check_ids(chosen, ids)
    return StreamWriter(stream, ids=ids, format_text=chosen.format_text)


def _text_alone(record: HypothesisRecord) -> str:
    return record.hypothesis.text + "\n"


def _check_ids(chosen: FileFormat | FolderFormat, ids: Iterable[str]) -> None:
    """Refuse ids that the format cannot hold.

    Raises:
        ValueError: There is one.
    """
    if chosen.check_id is not None:
        for record_id in ids:
            chosen.check_id(record_id)
