"""Manifests: JSON lines with the field names NeMo uses, read into utterances."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names the file and the line."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One stretch of audio with what is known about it.

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
        ManifestError: A line is no JSON object, lacks a field or has one of the wrong type, or an
            id
            occurs twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a manifest at {path}, found no file; run `asr prepare` first"
        )
    utterances = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            utterance = _parse_line(line, where=f"{path}:{number}", folder=path.parent)
            if utterance.id in seen:
                raise ManifestError(
                    f"{path}:{number}: expected unique ids, found {utterance.id!r} again "
                    f"(first on line {seen[utterance.id]}); give each utterance its own id"
                )
            seen[utterance.id] = number
            utterances.append(utterance)
    return utterances


def _parse_line(line: str, *, where: str, folder: Path) -> Utterance:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{where}: expected one JSON object a line, found: {error}") from None
    if not isinstance(record, dict):
        raise ManifestError(f"{where}: expected a JSON object, found {type(record).__name__}")
    audio = _field(record, "audio_filepath", (str,), where)
    duration = float(_field(record, "duration", (int, float), where))
    offset = float(_field(record, "offset", (int, float), where, default=0.0))
    if not (0 <= duration < float("inf") and 0 <= offset < float("inf")):
        raise ManifestError(
            f"{where}: expected finite seconds >= 0, found duration {duration}, offset {offset}"
        )
    speaker = _field(record, "speaker", (str, int, type(None)), where, default=None)
    return Utterance(
        id=str(_field(record, "id", (str, int), where, default=Path(audio).stem)),
        audio_filepath=Path(os.path.normpath(folder.absolute() / audio)),
        duration_seconds=duration,
        text=_field(record, "text", (str, type(None)), where, default=None),
        offset_seconds=offset,
        speaker=None if speaker is None else str(speaker),
    )


_REQUIRED = object()


def _field(
    record: dict[str, Any],
    name: str,
    types: tuple[type, ...],
    where: str,
    default: object = _REQUIRED,
) -> Any:  # noqa: ANN401 - the type is one of `types`, checked here
    value = record.get(name, default)
    if value is _REQUIRED:
        raise ManifestError(f"{where}: expected the field {name!r}, found {sorted(record)}")
    if value is not default and (not isinstance(value, types) or isinstance(value, bool)):
        names = " or ".join(kind.__name__ for kind in types)
        raise ManifestError(f"{where}: expected {name!r} to be {names}, found {value!r}")
    return value


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically; audio below the manifest's folder is written relative to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as stream:
        for utterance in utterances:
            stream.write(json.dumps(_to_record(utterance, path.parent), ensure_ascii=False) + "\n")
    part.replace(path)


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


def total_seconds(utterances: Sequence[Utterance]) -> float:
    """Audio seconds of all utterances together."""
    return sum(utterance.duration_seconds for utterance in utterances)
