"""Corpus in a table of paths and transcripts: CSV, TSV or JSON lines."""

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from asr.data.json_lines import json_objects
from asr.data.validation import (
    BrokenItem,
    Candidate,
    Candidates,
    ManifestReport,
    ValidationProgress,
    write_validated_manifest,
)

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl"})


class TableError(ValueError):
    """A table that cannot be used; the message is one line and names the file."""


def prepare(
    table: Path,
    out: Path,
    *,
    name: str,
    audio_column: str,
    text_column: str,
    skip_broken: bool,
    jobs: int,
    progress: ValidationProgress | None = None,
) -> ManifestReport:
    """Write the manifest of a table.

    Args:
        table: CSV or TSV with a header line, or JSON lines. The columns `id`, `speaker`, `offset`
            and `duration` (seconds, a stretch of the file) are optional; without an id, it is the
            path within the table's folder without suffix, and the offset's milliseconds if any.
        out: Folder of the manifest.
        name: Name of the manifest.
        audio_column: Column of the audio paths, relative to the table or absolute.
        text_column: Column of the transcripts.
        skip_broken: Leave broken items out instead of writing no manifest.
        jobs: Number of threads that decode, >= 1.
        progress: Told how many items are decoded.

    Returns:
        What was written and what is broken.

    Raises:
        FileNotFoundError: The table does not exist.
        ValueError: It is of another kind, lacks a column or rows, or is the manifest itself.
    """
    if not table.is_file():
        raise FileNotFoundError(f"expected a table at {table}, found no file; check the path")
    if (out / f"{name}.jsonl").absolute() == table.absolute():
        raise TableError(
            f"{table}: expected a manifest of another name than the table, found the same; choose "
            "another name or output folder"
        )
    candidates = find_candidates(table, audio_column=audio_column, text_column=text_column)
    return write_validated_manifest(
        candidates, out, name=name, skip_broken=skip_broken, jobs=jobs, progress=progress
    )


def find_candidates(table: Path, *, audio_column: str, text_column: str) -> Candidates:
    """Read the recordings of a table.

    Args:
        table: CSV, TSV or JSON lines.
        audio_column: Column of the audio paths.
        text_column: Column of the transcripts.

    Returns:
        The rows in order; a row without path or text, or with cells too many, is broken.

    Raises:
        ValueError: The table is of another kind, is no UTF-8, or lacks a column or rows.
    """
    good, broken = [], []
    for where, row in table_rows(table, required=(audio_column, text_column)):
        try:
            good.append(_candidate(row, table, where, audio_column, text_column))
        except TableError as error:
            broken.append(BrokenItem(id=where, reason=str(error)))
    return Candidates(good=good, broken=broken)


def table_rows(
    table: Path, *, required: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Read a table row by row.

    Args:
        table: CSV or TSV with a header line, or JSON lines; quotes in TSV are text.
        required: Columns that a CSV or TSV must have.

    Yields:
        The place, `path:line`, for messages, and the cells by column.

    Raises:
        TableError: The table is of another kind, is no UTF-8, or lacks a column or rows.
        JsonLinesError: A line is no JSON object.
    """
    empty = True
    try:
        for place_and_row in _rows(table, required=required):
            empty = False
            yield place_and_row
    except UnicodeDecodeError as error:
        raise TableError(
            f"{table}: expected UTF-8 text, found {error.reason}; convert it"
        ) from None
    if empty:
        raise TableError(f"{table}: expected at least one row, found none; add rows")


def _rows(table: Path, *, required: Sequence[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    suffix = table.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise TableError(
            f"{table}: expected a name that ends in {', '.join(sorted(TABLE_SUFFIXES))}, found "
            f"{table.suffix!r}; rename or convert it"
        )
    if suffix == ".jsonl":
        yield from json_objects(table)
        return
    with table.open(encoding="utf-8-sig", newline="") as stream:
        if suffix == ".tsv":
            # Quotes in TSV are text: Common Voice and others do not escape them.
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.DictReader(stream)
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise TableError(
                f"{table}: expected the columns {', '.join(missing)}, found "
                f"{', '.join(reader.fieldnames or ()) or 'no header'}; give --audio-column and "
                "--text-column"
            )
        try:
            for row in reader:
                yield f"{table}:{reader.line_num}", dict(row)
        except csv.Error as error:
            raise TableError(f"{table}:{reader.line_num}: expected a row, found {error}") from None


def check_text(
    row: Mapping[str, object], columns: tuple[str, str], *, where: str
) -> tuple[str, str]:
    """Take the audio path and the transcript from a row.

    Args:
        row: Cells by column.
        columns: Column of the audio path, and that of the transcript.
        where: Place of the row, for messages.

    Returns:
        The path, which is not empty, and the transcript.

    Raises:
        TableError: The row has cells too many, or one of the two is missing.
    """
    if None in row:
        raise TableError(
            f"{where}: expected a cell for each of the {len(row) - 1} columns, found more; quote "
            "text that holds the separator"
        )
    for column in columns:
        if not isinstance(row.get(column), str):
            raise TableError(
                f"{where}: expected text in {column!r}, found {row.get(column)!r}; correct the row"
            )
    audio, text = (str(row[column]) for column in columns)
    if not audio:
        raise TableError(f"{where}: expected a path in {columns[0]!r}, found none; correct the row")
    return audio, text


def _candidate(
    row: Mapping[str, object], table: Path, where: str, audio_column: str, text_column: str
) -> Candidate:
    audio, text = check_text(row, (audio_column, text_column), where=where)
    folder = table.parent.absolute()
    path = Path(os.path.normpath(folder / audio))
    offset_seconds = _seconds(row, "offset", where)
    duration_seconds = _seconds(row, "duration", where)
    item_id, speaker = row.get("id"), row.get("speaker")
    if item_id in (None, ""):
        stem = path.with_suffix("")
        item_id = stem.relative_to(folder).as_posix() if stem.is_relative_to(folder) else stem.name
        if offset_seconds:
            item_id = f"{item_id}-{round(1000 * offset_seconds)}"
    return Candidate(
        id=str(item_id),
        audio_filepath=path,
        text=" ".join(text.split()),
        speaker=None if speaker in (None, "") else str(speaker),
        offset_seconds=offset_seconds or 0.0,
        duration_seconds=duration_seconds,
    )


def _seconds(row: Mapping[str, object], column: str, where: str) -> float | None:
    value = row.get(column)
    if value in (None, ""):
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise TableError(
            f"{where}: expected seconds in {column!r}, found {value!r}; correct the row or rename "
            "the column"
        )
    return seconds
