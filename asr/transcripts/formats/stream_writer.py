"""Transcripts on a stream, such as standard output."""

from collections.abc import Callable, Sequence
from typing import Self, TextIO

from asr.transcripts.hypothesis_file import HypothesisRecord


class StreamWriter:
    """Writes transcripts to a stream in the order of the inputs, each as soon as all before it are.

    Where the context ends in an error, those that waited for others are written too, so that
    nothing already made is lost.

    Args:
        stream: Where they go; it stays open.
        ids: All inputs, in order.
        format_text: Gives the text of a record, ends of lines included.
        without_transcript: What stands for an input that has no transcript.
    """

    place = unfinished_place = "on standard output"

    def __init__(
        self,
        stream: TextIO,
        *,
        ids: Sequence[str],
        format_text: Callable[[HypothesisRecord], str],
        without_transcript: str = "",
    ) -> None:
        self._stream = stream
        self._waiting = list(reversed(ids))
        self._format_text = format_text
        self._without_transcript = without_transcript
        self._texts: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # What the stream itself refused is not tried again.
        if kind is None or not issubclass(kind, OSError):
            while self._texts:
                self._write_next()
            self._stream.flush()

    def append(self, record: HypothesisRecord) -> None:
        """Take one transcript.

        Raises:
            FormatError: The format cannot hold the transcript; nothing of it is written.
        """
        self._take(record.id, self._format_text(record))

    def leave_out(self, record_id: str) -> None:
        """Take an input without a transcript."""
        self._take(record_id, self._without_transcript)

    def finish(self, order: Sequence[str] | None = None) -> None:
        """Nothing is left to do: the order is that of the inputs."""

    def _take(self, record_id: str, text: str) -> None:
        self._texts[record_id] = text
        while self._waiting and self._waiting[-1] in self._texts:
            self._write_next()
        self._stream.flush()

    def _write_next(self) -> None:
        self._stream.write(self._texts.pop(self._waiting.pop(), self._without_transcript))
