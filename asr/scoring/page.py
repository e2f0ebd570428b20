"""A score as one HTML page that needs nothing beside it: numbers, plots, every utterance."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jinja2

from asr.data.manifest import Utterance
from asr.files import PROVENANCE_FILE, whole_or_absent
from asr.scoring.intervals import FEW_UNITS
from asr.scoring.page_audio import audio_urls, check_embeddable, embedded_audio
from asr.scoring.page_data import SYSTEM_LABELS, System, make_data
from asr.scoring.report import ScoreReport, score
from asr.scoring.text import percent, signed

_SCRIPTS = (
    "elements.js",
    "alignment.js",
    "drawing.js",
    "plots.js",
    "confusions.js",
    "utterances.js",
    "main.js",
)

AudioPlace = Literal["linked", "embedded"]


@dataclass(frozen=True, kw_only=True)
class SystemSummary:
    """One system at the head of the page.

    Args:
        label: One letter.
        name: The system's name.
        path: Its hypothesis file.
        modified: When its hypothesis file was written.
        report: Its score.
        provenance: How its experiment came about, key and value; empty if there is no record.
    """

    label: str
    name: str
    path: Path
    modified: str
    report: ScoreReport
    provenance: tuple[tuple[str, str], ...]


def write_page(
    path: Path,
    *,
    manifest: Path,
    references: Sequence[Utterance],
    systems: Sequence[System],
    report: ScoreReport,
    audio: AudioPlace = "linked",
) -> None:
    """Write the page; a former one stays until the new one is whole.

    Args:
        path: The page; its folder is made where missing.
        manifest: The file of the references.
        references: Utterances with transcripts.
        systems: The scored system, then those it was compared with.
        report: The score of the first system against the others.
        audio: Whether the page plays the manifest's files, found relative to the page, or holds
            the audio itself.

    Raises:
        ValueError: There are more systems or there is more audio than a page can hold, a
            provenance record is broken, or audio to embed cannot be used.
        OSError: A file cannot be read or the page cannot be written.
    """
    if len(systems) > len(SYSTEM_LABELS):
        raise ValueError(
            f"expected at most {len(SYSTEM_LABELS)} systems on a page, found {len(systems)}; "
            "leave out some --against"
        )
    if audio == "embedded":
        check_embeddable(references)
        urls: Sequence[str | None] = [None] * len(references)
        recordings: Iterable[str] = embedded_audio(references)
    else:
        urls, recordings = audio_urls(references, path.parent), ()
    chunks = _render(
        summaries=_summaries(references, systems, report),
        manifest=manifest,
        manifest_modified=_modified(manifest),
        data=make_data(references, systems, urls),
        recordings=recordings,
        few_units=FEW_UNITS,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_absent(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.writelines(chunks)


def _summaries(
    references: Sequence[Utterance], systems: Sequence[System], report: ScoreReport
) -> list[SystemSummary]:
    return [
        SystemSummary(
            label=label,
            name=system.name,
            path=system.path,
            modified=_modified(system.path),
            report=report
            if system is systems[0]
            else score(references, system.texts, missing="deletions"),
            provenance=tuple(_provenance(system.path)),
        )
        for label, system in zip(SYSTEM_LABELS, systems, strict=False)
    ]


def _modified(path: Path) -> str:
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return written.strftime("%Y-%m-%d %H:%M UTC")


def _provenance(hypotheses: Path) -> Iterator[tuple[str, str]]:
    """The record of the experiment folder that the hypotheses lie in, one line a value."""
    folder = hypotheses.absolute().parent
    for path in (folder / PROVENANCE_FILE, folder.parent / PROVENANCE_FILE):
        if not path.is_file():
            continue
        try:
            record = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{path}: expected the JSON record of an experiment, found: {error}; restore or "
                "remove the file"
            ) from None
        yield from _flat(record, "")
        return


def _flat(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, start=1):
            yield from _flat(item, f"{key}.{number}")
    elif isinstance(value, list):
        yield key, " ".join(map(str, value))
    else:
        yield key, "none" if value is None else str(value)


def _render(**context: Any) -> Iterator[str]:  # noqa: ANN401 - what the template names
    loader = jinja2.PackageLoader("asr.scoring", "html")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "signed": signed}
    # `tojson` escapes what could end the script element; dataclasses become their fields.
    environment.policies["json.dumps_kwargs"] = {
        "default": vars,
        "separators": (",", ":"),
        "ensure_ascii": False,
        "allow_nan": False,
    }

    def source(name: str) -> str:
        return loader.get_source(environment, name)[0]

    style, script = source("style.css"), "\n".join(map(source, _SCRIPTS))
    return environment.get_template("template.html.j2").generate(
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        **context,
    )


def _digest(text: str) -> str:
    """What the page's content security policy names the only style and script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
