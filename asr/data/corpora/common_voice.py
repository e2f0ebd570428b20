"""Common Voice and everything in its layout: <split>.tsv beside the folder clips/ of MP3 files."""

from pathlib import Path

from asr.data.corpora.base import Corpus
from asr.data.corpora.table import TableError, check_text, table_rows
from asr.data.validation import BrokenItem, Candidate, Candidates

CLIPS_FOLDER = "clips"
_AUDIO, _TEXT, _SPEAKER = "path", "sentence", "client_id"


def language_folder(root: Path) -> Path:
    """The folder of one language, given it or the folder that holds no other.

    Raises:
        ValueError: There are several languages below.
    """
    if find_splits(root) or not root.is_dir():
        return root
    languages = sorted(path for path in root.iterdir() if path.is_dir() and find_splits(path))
    if len(languages) > 1:
        raise ValueError(
            f"expected one language below {root}, found "
            f"{', '.join(path.name for path in languages)}; give its folder, such as "
            f"{languages[0]}, as the root"
        )
    return languages[0] if languages else root


def find_splits(folder: Path) -> list[str]:
    """Names of the tables that list clips, sorted; others, such as reported.tsv, are none."""
    return sorted(path.stem for path in folder.glob("*.tsv") if _lists_clips(path))


def _lists_clips(table: Path) -> bool:
    with table.open("rb") as stream:
        header = stream.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    return {_AUDIO, _TEXT, _SPEAKER} <= set(header)


def find_candidates(folder: Path, split: str) -> Candidates:
    """Read the clips of a split.

    Args:
        folder: Folder of the language.
        split: Name of the table without suffix.

    Returns:
        The clips in the order of the table; a row without a path or a sentence is broken.

    Raises:
        ValueError: The table is no UTF-8 or has no row.
    """
    clips = folder.absolute() / CLIPS_FOLDER
    good, broken = [], []
    for where, row in table_rows(folder / f"{split}.tsv", required=(_AUDIO, _TEXT, _SPEAKER)):
        try:
            audio, text = check_text(row, (_AUDIO, _TEXT), where=where)
        except TableError as error:
            broken.append(BrokenItem(id=where, reason=str(error)))
            continue
        path = clips / audio
        good.append(
            Candidate(
                id=path.stem,
                audio_filepath=path,
                text=" ".join(text.split()),
                speaker=str(row[_SPEAKER] or "") or None,
            )
        )
    return Candidates(good=good, broken=broken)


COMMON_VOICE = Corpus(
    description="Common Voice, and folders laid out like one of its languages.",
    root="The folder of one language, such as cv-corpus-21.0/cy, or the one that holds it alone.",
    layout=f"<split>.tsv beside {CLIPS_FOLDER}/",
    source="download the language from https://commonvoice.mozilla.org",
    locate=language_folder,
    find_splits=find_splits,
    find_candidates=find_candidates,
    default_splits=("train", "dev", "test"),
)
