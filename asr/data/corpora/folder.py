"""Corpus in a folder: audio files, each beside a .txt file of the same name."""

import logging
from pathlib import Path

from asr.data.audio_containers import AUDIO_SUFFIXES
from asr.data.folders import files_below
from asr.data.validation import (
    BrokenItem,
    Candidate,
    Candidates,
    ManifestReport,
    ValidationProgress,
    write_validated_manifest,
)

logger = logging.getLogger(__name__)


def prepare(
    folder: Path,
    out: Path,
    *,
    name: str,
    skip_broken: bool,
    jobs: int,
    progress: ValidationProgress | None = None,
) -> ManifestReport:
    """Write the manifest of a folder.

    Args:
        folder: Searched with all its subfolders. An id is the path within it without suffix.
        out: Folder of the manifest.
        name: Name of the manifest.
        skip_broken: Leave broken items out instead of writing no manifest.
        jobs: Number of threads that decode, >= 1.
        progress: Told how many items are decoded.

    Returns:
        What was written and what is broken.

    Raises:
        FileNotFoundError: The folder does not exist or holds no audio.
        PermissionError: A folder below it cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder at {folder}, found none; check the path")
    candidates = find_candidates(folder.absolute())
    return write_validated_manifest(
        candidates, out, name=name, skip_broken=skip_broken, jobs=jobs, progress=progress
    )


def find_candidates(folder: Path) -> Candidates:
    """Pair the audio files below a folder with their transcripts.

    Args:
        folder: Absolute path.

    Returns:
        The pairs in the order of their ids; audio without a readable transcript is broken.

    Raises:
        FileNotFoundError: There is no audio below the folder.
        PermissionError: A folder below it cannot be read.
    """
    files = files_below(folder)
    audio = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if not audio:
        raise FileNotFoundError(
            f"expected audio ({', '.join(sorted(AUDIO_SUFFIXES))}) below {folder}, found none "
            f"among {len(files)} files; check the path"
        )
    stems = {path.with_suffix("") for path in audio}
    unused = [
        path
        for path in files
        if path.suffix.lower() == ".txt" and path.with_suffix("") not in stems
    ]
    if unused:
        logger.warning("%d .txt files without audio, the first is %s", len(unused), unused[0])
    good, broken = [], []
    for path in audio:
        item_id = path.relative_to(folder).with_suffix("").as_posix()
        transcript = path.with_suffix(".txt")
        try:
            text = " ".join(transcript.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            reason = (
                f"{path}: expected the transcript {transcript.name} beside it, found none; add it"
            )
            broken.append(BrokenItem(id=item_id, reason=reason))
        except UnicodeDecodeError as error:
            reason = f"{transcript}: expected UTF-8 text, found {error.reason}; convert it"
            broken.append(BrokenItem(id=item_id, reason=reason))
        else:
            good.append(Candidate(id=item_id, audio_filepath=path, text=text))
    return Candidates(good=good, broken=broken)
