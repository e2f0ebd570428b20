"""Hypothesis files: JSON lines, one transcript a line; nothing already made is lost."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asr.data.json_lines import JsonLinesError, json_field, json_objects
from asr.transcripts.hypothesis import Alternative, Hypothesis, Word

_NUMBER = (int, float)


@dataclass(frozen=True, kw_only=True)
class HypothesisRecord:
    """One line of a hypothesis file.

    Args:
        id: Unique within the file.
        hypothesis: The transcript.
        audio_filepath: The audio it was made from; None where there is no file.
    """

    id: str
    hypothesis: Hypothesis
    audio_filepath: Path | None = None


class FormatError(ValueError):
    """A transcript that a format cannot hold."""


def read_hypotheses(path: Path) -> dict[str, Hypothesis]:
    """Read the hypotheses of a file by id; see `read_records`."""
    return {record.id: record.hypothesis for record in read_records(path)}


def read_records(path: Path) -> list[HypothesisRecord]:
    """Read a hypothesis file.

    Args:
        path: JSON lines; `id` and `text` are required, so that the output of other recognisers can
            be scored. Without `score` and `duration` these are 0, without `words` or `nbest` there
            are none.

    Returns:
        The hypotheses, in file order.

    Raises:
        FileNotFoundError: The file does not exist.
        JsonLinesError: A line is no JSON object, lacks a field or has one of the wrong type,
            or an id occurs twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a hypothesis file at {path}, found no file; run `asr decode` first"
        )
    records: list[HypothesisRecord] = []
    places: dict[str, str] = {}
    for where, record in json_objects(path):
        name = str(json_field(record, "id", (str, int), where=where))
        if name in places:
            raise JsonLinesError(
                f"{where}: expected unique ids, found {name!r} again "
                f"(first at {places[name]}); give each hypothesis its own id"
            )
        audio = json_field(record, "audio_filepath", (str,), where=where, default=None)
        records.append(
            HypothesisRecord(
                id=name,
                hypothesis=_to_hypothesis(record, where),
                audio_filepath=None if audio is None else path.parent / audio,
            )
        )
        places[name] = where
    return records


def _to_hypothesis(record: dict[str, Any], where: str) -> Hypothesis:
    words = _objects(record, "words", where)
    nbest = _objects(record, "nbest", where)
    return Hypothesis(
        text=json_field(record, "text", (str,), where=where),
        score=float(json_field(record, "score", _NUMBER, where=where, default=0.0)),
        duration_seconds=float(json_field(record, "duration", _NUMBER, where=where, default=0.0)),
        words=tuple(_to_word(word, where) for word in words),
        nbest=tuple(_to_alternative(alternative, where) for alternative in nbest),
    )


def _objects(record: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json_field(record, name, (list,), where=where, default=[])
    for item in objects:
        if not isinstance(item, dict):
            raise JsonLinesError(
                f"{where}: expected each of {name!r} to be a JSON object, found {item!r}; "
                "correct or remove the line"
            )
    return objects


def _to_alternative(record: dict[str, Any], where: str) -> Alternative:
    names = [name for name in record if name.endswith("score")]
    return Alternative(
        text=json_field(record, "text", (str,), where=where),
        score=float(json_field(record, "score", _NUMBER, where=where)),
        acoustic_score=float(json_field(record, "acoustic_score", _NUMBER, where=where)),
        lm_scores={
            name: float(json_field(record, name, _NUMBER, where=where))
            for name in names
            if name not in {"score", "acoustic_score", "blank_penalty_score"}
        },
        blank_penalty_score=float(
            json_field(record, "blank_penalty_score", _NUMBER, where=where, default=0.0)
        ),
        tokens=json_field(record, "tokens", (int,), where=where, default=None),
    )


def _to_word(record: dict[str, Any], where: str) -> Word:
    return Word(
        word=json_field(record, "word", (str,), where=where),
        start_seconds=float(json_field(record, "start", _NUMBER, where=where)),
        end_seconds=float(json_field(record, "end", _NUMBER, where=where)),
        confidence=float(json_field(record, "confidence", _NUMBER, where=where)),
    )


def write_hypotheses(path: Path, records: Iterable[HypothesisRecord]) -> None:
    """Write a hypothesis file atomically; audio below the file's folder is written relative to it.

    Raises:
        ValueError: An id occurs twice.
        FormatError: A number is not finite.
    """
    with HypothesisWriter(path) as writer:
        for record in records:
            writer.append(record)
        writer.finish()


def json_line(record: HypothesisRecord, folder: Path) -> str:
    """A line of a hypothesis file in `folder`.

    Raises:
        FormatError: A number is not finite.
    """
    try:
        return json.dumps(_to_record(record, folder), ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise FormatError(
            f"expected finite scores, times and confidences, found NaN or infinity in those of "
            f"{record.id!r}; check the model's weights"
        ) from None


def text_line(record: HypothesisRecord, folder: Path) -> str:
    """Id, tab, text."""
    return f"{record.id}\t{record.hypothesis.text}"


def check_line_id(record_id: str) -> None:
    """Refuse an id that would break such a line.

    Raises:
        ValueError: The id has a tab or an end of line.
    """
    if "\t" in record_id or record_id.splitlines() not in ([record_id], []):
        raise ValueError(
            f"expected ids without tabs and ends of lines, found {record_id!r}; give the recording "
            "another name or write jsonl"
        )


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Say of an OSError that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"expected to write {path}, found: {error.strerror}; free space or choose another place"
        ) from error


class HypothesisWriter:
    """Writes each hypothesis as it is made into `<path>.part`, which `finish` turns into `path`.

    Leaving the context without `finish`, or the death of the process, keeps the partial file, which
    has complete lines only. One that is there already stays until `finish`: the new one then has
    another name.

    Args:
        path: The file; its folder is made where missing.
        format_lines: Gives the lines of a record, without the end of the last one, for a file in
            the given folder; empty where there are none.

    Raises:
        OSError: The file cannot be written; so do `append` and `finish`.
    """

    def __init__(
        self, path: Path, *, format_lines: Callable[[HypothesisRecord, Path], str] = json_line
    ) -> None:
        self.path = path
        self._former_parts: list[Path] = []
        self.part_path = path.with_name(path.name + ".part")
        while self.part_path.exists():
            self._former_parts.append(self.part_path)
            number = len(self._former_parts) + 1
            self.part_path = path.with_name(f"{path.name}.part{number}")
        self._format_lines = format_lines
        self._lines: dict[str, str] = {}
        with clear_write_errors(self.path):
            if path.is_dir():
                raise IsADirectoryError(0, "a folder of that name")
            if path.exists() and not path.is_file():
                raise OSError(0, "a device or pipe of that name")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.part_path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # Closing tries again to write what a full disk refused, and reports it once more.
        with suppress(OSError):
            self._stream.close()
        if not self._lines:
            self.part_path.unlink(missing_ok=True)

    @property
    def place(self) -> str:
        """Where the transcripts are once they are finished, for messages."""
        return f"in {self.path}"

    @property
    def unfinished_place(self) -> str:
        """Where they are before that."""
        return f"in {self.part_path}"

    def leave_out(self, record_id: str) -> None:
        """An input without a transcript has no line."""

    def append(self, record: HypothesisRecord) -> None:
        """Write one hypothesis and hand it to the operating system.

        Raises:
            ValueError: The id was written before.
            FormatError: The format cannot hold the transcript; nothing of it is written.
        """
        if record.id in self._lines:
            raise ValueError(
                f"expected unique ids in {self.path}, found {record.id!r} again; "
                "give each hypothesis its own id"
            )
        lines = self._format_lines(record, self.path.parent)
        lines += "\n" if lines else ""
        with clear_write_errors(self.path):
            self._stream.write(lines)
            self._stream.flush()
        self._lines[record.id] = lines

    def finish(self, order: Sequence[str] | None = None) -> None:
        """Put the file in place, atomically.

        Args:
            order: Ids in the order of the lines; those that were never appended are left out. By
                default the order of `append`.
        """
        ids = self._lines if order is None else [name for name in order if name in self._lines]
        # A second file, so that a disk that fills up here leaves the partial one whole.
        sorted_path = self.path.with_name(self.path.name + ".sorted")
        with clear_write_errors(self.path):
            self._stream.close()
            try:
                with sorted_path.open("w", encoding="utf-8") as stream:
                    stream.writelines(self._lines[name] for name in ids)
                    stream.flush()
                    os.fsync(stream.fileno())
                sorted_path.replace(self.path)
            except BaseException:
                sorted_path.unlink(missing_ok=True)
                raise
            for part in (self.part_path, *self._former_parts):
                part.unlink(missing_ok=True)


def _to_record(record: HypothesisRecord, folder: Path) -> dict[str, object]:
    hypothesis = record.hypothesis
    fields: dict[str, object] = {"id": record.id}
    if record.audio_filepath is not None:
        audio = Path(os.path.normpath(record.audio_filepath.absolute()))
        folder = Path(os.path.normpath(folder.absolute()))
        below = audio.is_relative_to(folder)
        fields["audio_filepath"] = str(audio.relative_to(folder) if below else audio)
    fields["text"] = hypothesis.text
    fields["score"] = hypothesis.score
    fields["duration"] = hypothesis.duration_seconds
    fields["words"] = [
        {
            "word": word.word,
            "start": round(word.start_seconds, 3),
            "end": round(word.end_seconds, 3),
            "confidence": round(word.confidence, 4),
        }
        for word in hypothesis.words
    ]
    if hypothesis.nbest:
        fields["nbest"] = [_alternative_record(alternative) for alternative in hypothesis.nbest]
    return fields


def _alternative_record(alternative: Alternative) -> dict[str, object]:
    fields: dict[str, object] = {
        "text": alternative.text,
        "score": alternative.score,
        "acoustic_score": alternative.acoustic_score,
        **alternative.lm_scores,
    }
    if alternative.blank_penalty_score:
        fields["blank_penalty_score"] = alternative.blank_penalty_score
    if alternative.tokens is not None:
        fields["tokens"] = alternative.tokens
    return fields
