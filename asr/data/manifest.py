"""Manifests: JSON lines with the field names NeMo uses, read into utterances."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from asr.data.json_lines import JsonLinesError, json_field, json_objects
from asr.files import whole_or_absent


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Utterance: one segment of an audio file with its transcript and speaker.

    Args:
        id: Unique within a manifest.
        audio_filepath: The audio file; absolute once read from a manifest.
        duration_seconds: Length of the stretch.
        text: Transcript; None where unknown.
        offset_seconds: Start of the stretch inside the file.
        speaker: Speaker label; None where unknown.
    """

    id: str
    audio_filepath: Path
    duration_seconds: float
    text: str | None = None
    offset_seconds: float = 0.0
    speaker: str | None = None


_JSON_NAMES = {"duration_seconds": "duration", "offset_seconds": "offset"}


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest.

    Args:
        path: JSON-lines file; relative audio paths are relative to its folder.

    Returns:
        The utterances in file order. An utterance without `id` is named after its audio file's
        stem.

    Raises:
        FileNotFoundError: The manifest does not exist.
        JsonLinesError: A line is no JSON object, lacks a field or has one of the wrong type, or an
            id occurs twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a manifest at {path}, found no file; run `asr prepare` first"
        )
    utterances: dict[str, Utterance] = {}
    places: dict[str, str] = {}
    for where, record in json_objects(path):
        utterance = _to_utterance(record, where=where, folder=path.parent)
        if utterance.id in utterances:
            raise JsonLinesError(
                f"{where}: expected unique ids, found {utterance.id!r} again "
                f"(first at {places[utterance.id]}); give each utterance its own id"
            )
        utterances[utterance.id] = utterance
        places[utterance.id] = where
    return list(utterances.values())


def _to_utterance(record: dict[str, object], *, where: str, folder: Path) -> Utterance:
    audio = json_field(record, "audio_filepath", (str,), where=where)
    duration = float(json_field(record, "duration", (int, float), where=where))
    offset = float(json_field(record, "offset", (int, float), where=where, default=0.0))
    if duration < 0 or offset < 0:
        raise JsonLinesError(
            f"{where}: expected seconds >= 0, found duration {duration}, offset {offset}; "
            "correct or remove the line"
        )
    speaker = json_field(record, "speaker", (str, int), where=where, default=None)
    return Utterance(
        id=str(json_field(record, "id", (str, int), where=where, default=Path(audio).stem)),
        audio_filepath=Path(os.path.normpath(folder.absolute() / audio)),
        duration_seconds=duration,
        text=json_field(record, "text", (str,), where=where, default=None),
        offset_seconds=offset,
        speaker=None if speaker is None else str(speaker),
    )


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically; audio below the manifest's folder is written relative to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_absent(path) as part, part.open("w", encoding="utf-8") as stream:
        for utterance in utterances:
            stream.write(json.dumps(_to_record(utterance, path.parent), ensure_ascii=False) + "\n")


def _to_record(utterance: Utterance, folder: Path) -> dict[str, object]:
    record: dict[str, object] = {}
    for item in fields(utterance):
        value = getattr(utterance, item.name)
        if value is not None:
            record[_JSON_NAMES.get(item.name, item.name)] = value
    audio = utterance.audio_filepath.absolute()
    folder = folder.absolute()
    record["audio_filepath"] = str(
        audio.relative_to(folder) if audio.is_relative_to(folder) else audio
    )
    if utterance.offset_seconds == 0:
        del record["offset"]
    return record


def join_manifests(paths: Sequence[Path], out: Path) -> list[Utterance]:
    """Write several manifests as one, atomically.

    Args:
        paths: The manifests, in the order of their utterances.
        out: The manifest to write.

    Returns:
        The utterances.

    Raises:
        FileNotFoundError: A manifest does not exist.
        JsonLinesError: A manifest is broken, or an id occurs in two of them.
    """
    utterances: dict[str, Utterance] = {}
    origins: dict[str, Path] = {}
    for path in paths:
        for utterance in read_manifest(path):
            if utterance.id in utterances:
                raise JsonLinesError(
                    f"{path}: expected ids that no other manifest has, found {utterance.id!r} also "
                    f"in {origins[utterance.id]}; leave one of them out or rename its ids"
                )
            utterances[utterance.id] = utterance
            origins[utterance.id] = path
    write_manifest(out, utterances.values())
    return list(utterances.values())


def total_seconds(utterances: Sequence[Utterance]) -> float:
    """Audio seconds of all utterances together."""
    return sum(utterance.duration_seconds for utterance in utterances)
