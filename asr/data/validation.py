"""Corpus validation: candidates to a manifest; every file is decoded, every broken item named."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asr.data.audio_containers import AudioError
from asr.data.manifest import Utterance, total_seconds, write_manifest

ValidationProgress = Callable[[str, int, int], None]
"""Called with the manifest's name, the items that are done, and the items in all."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An utterance as a corpus states it, before its audio is decoded.

    Args:
        id: Id that the manifest shall have.
        audio_filepath: Absolute path of the audio.
        text: Transcript.
        speaker: Speaker label; None where unknown.
        offset_seconds: Start of the utterance in the file.
        duration_seconds: Its length; None = to the end of the file.
    """

    id: str
    audio_filepath: Path
    text: str
    speaker: str | None = None
    offset_seconds: float = 0.0
    duration_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class BrokenItem:
    """Item of a corpus that cannot become an utterance.

    Args:
        id: Id of the item.
        reason: One line that names the file, what was expected and what was found.
    """

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What a corpus holds.

    Args:
        good: Items with audio and transcript, in the order of the manifest.
        broken: Items without one of them.
    """

    good: Sequence[Candidate]
    broken: Sequence[BrokenItem]


@dataclass(frozen=True, kw_only=True)
class ManifestReport:
    """What became of one manifest.

    Args:
        name: Name of the manifest: its file without the suffix.
        manifest: The file; None where none was written, because of broken items.
        utterances: Number of good utterances.
        duration_seconds: Audio of the good utterances.
        speakers: Number of different speakers; 0 where unknown.
        empty_transcripts: Number of good utterances without a word.
        broken: The broken items.
    """

    name: str
    manifest: Path | None
    utterances: int
    duration_seconds: float
    speakers: int
    empty_transcripts: int
    broken: tuple[BrokenItem, ...]


def write_validated_manifest(
    candidates: Candidates,
    out: Path,
    *,
    name: str,
    skip_broken: bool,
    jobs: int,
    progress: ValidationProgress | None = None,
) -> ManifestReport:
    """Decode all audio and write the manifest of what is good.

    Args:
        candidates: What the corpus holds.
        out: Folder of the manifest `<name>.jsonl`. Broken items that were left out are listed in
            `<name>.broken.txt`.
        name: Name of the manifest.
        skip_broken: Write the manifest without the broken items; otherwise a broken item means
            that no manifest is written.
        jobs: Number of threads that decode, >= 1.
        progress: Told how many items are decoded.

    Returns:
        The report. Its manifest is None when broken items prevent it or nothing good is left.

    Raises:
        ValueError: `jobs` is not positive.
    """
    if jobs < 1:
        raise ValueError(f"expected at least one job, found {jobs}; give a positive number")
    utterances, broken = _validate(candidates, name=name, jobs=jobs, progress=progress)
    manifest = None
    if utterances and (skip_broken or not broken):
        manifest = out / f"{name}.jsonl"
        write_manifest(manifest, utterances)
        broken_list = out / f"{name}.broken.txt"
        if broken:
            lines = "".join(f"{item.id}\t{item.reason}\n" for item in broken)
            broken_list.write_text(lines, encoding="utf-8", errors="backslashreplace")
        else:
            broken_list.unlink(missing_ok=True)
    return ManifestReport(
        name=name,
        manifest=manifest,
        utterances=len(utterances),
        duration_seconds=total_seconds(utterances),
        speakers=len({item.speaker for item in utterances} - {None}),
        empty_transcripts=sum(not (item.text or "").strip() for item in utterances),
        broken=tuple(broken),
    )


def _validate(
    candidates: Candidates, *, name: str, jobs: int, progress: ValidationProgress | None
) -> tuple[list[Utterance], list[BrokenItem]]:
    unique, duplicates = _split_duplicates(candidates.good)
    broken = [*candidates.broken, *duplicates]
    utterances = []
    executor = ThreadPoolExecutor(max_workers=jobs)
    try:
        # Threads: decoding runs without the interpreter's lock.
        results = executor.map(_validate_one, unique)
        for done, result in enumerate(results, start=1):
            if isinstance(result, Utterance):
                utterances.append(result)
            else:
                broken.append(result)
            if progress is not None:
                progress(name, done, len(unique))
    finally:
        executor.shutdown(cancel_futures=True)
    return utterances, sorted(broken, key=lambda item: (item.id, item.reason))


def _split_duplicates(items: Iterable[Candidate]) -> tuple[list[Candidate], list[BrokenItem]]:
    first: dict[str, Candidate] = {}
    duplicates = []
    for item in items:
        if item.id in first:
            reason = (
                f"{item.audio_filepath}: expected a unique id, found {item.id!r} also for "
                f"{first[item.id].audio_filepath}; rename or remove one of them"
            )
            duplicates.append(BrokenItem(id=item.id, reason=reason))
        else:
            first[item.id] = item
    return list(first.values()), duplicates


def _validate_one(item: Candidate) -> Utterance | BrokenItem:
    # torch comes with it, which the help of the command line does without.
    from asr.data.audio import validate_audio

    try:
        info = validate_audio(
            item.audio_filepath,
            offset_seconds=item.offset_seconds,
            duration_seconds=item.duration_seconds,
        )
    except (AudioError, OSError) as error:
        return BrokenItem(id=item.id, reason=str(error))
    return Utterance(
        id=item.id,
        audio_filepath=item.audio_filepath,
        duration_seconds=info.duration_seconds,
        text=item.text,
        offset_seconds=item.offset_seconds,
        speaker=item.speaker,
    )
