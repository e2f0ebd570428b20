"""LibriSpeech and everything in its layout: <split>/<speaker>/<chapter>/, audio and *.trans.txt."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.data.audio_containers import AUDIO_SUFFIXES
from asr.data.corpora.base import Corpus
from asr.data.download import (
    ArchiveError,
    DownloadProgress,
    Retries,
    download_file,
    unpack_tar_gz,
    verify_sha256,
)
from asr.data.validation import BrokenItem, Candidate, Candidates

logger = logging.getLogger(__name__)

CORPUS_FOLDER = "LibriSpeech"
_OFFICIAL_URL = "http://www.openslr.org/resources/12/"
_MINI_URL = "https://www.openslr.org/resources/31/"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A split that can be downloaded.

    Args:
        base_url: Address of its folder.
        sha256: Digest of the archive; None where none is published.
    """

    base_url: str
    sha256: str | None


_OFFICIAL_SHA256 = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
ARCHIVES = {
    name: Archive(base_url=_OFFICIAL_URL, sha256=digest)
    for name, digest in _OFFICIAL_SHA256.items()
} | {name: Archive(base_url=_MINI_URL, sha256=None) for name in ("train-clean-5", "dev-clean-2")}


def download(
    root: Path,
    *,
    splits: Sequence[str],
    mirror: str | None = None,
    progress: DownloadProgress | None = None,
    retries: Retries | None = None,
) -> None:
    """Download and unpack the splits that are not there yet.

    Args:
        root: The corpus folder `LibriSpeech` or its parent.
        splits: Names of official splits or of those of Mini LibriSpeech.
        mirror: Base address to use instead of the official ones.
        progress: Told how far each download is.
        retries: How often to try again after a dropped connection.

    Raises:
        ValueError: A split is unknown, or an archive is damaged or unsafe.
        DownloadError: A download fails.
    """
    unknown = [name for name in splits if name not in ARCHIVES]
    if unknown:
        raise ValueError(
            f"expected splits among {', '.join(sorted(ARCHIVES))}, found {', '.join(unknown)}; "
            "only these can be downloaded"
        )
    corpus = corpus_folder(root)
    for name in splits:
        if (corpus / name).is_dir():
            logger.info("%s is there already", corpus / name)
            continue
        archive = corpus / f"{name}.tar.gz"
        source = ARCHIVES[name]
        base_url = mirror or source.base_url
        if archive.is_file():
            verify_sha256(archive, source.sha256)
        else:
            download_file(
                f"{base_url.rstrip('/')}/{archive.name}",
                archive,
                sha256=source.sha256,
                progress=progress,
                retries=retries,
            )
        _unpack_split(archive, corpus, name)


def _unpack_split(archive: Path, corpus: Path, name: str) -> None:
    """Unpack beside the target, then rename: a split is either whole or not there."""
    folder = corpus / f".{name}.part"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        unpack_tar_gz(archive, folder)
        unpacked = folder / CORPUS_FOLDER / name
        if not _is_split(unpacked):
            raise ArchiveError(
                f"{archive}: expected the split {CORPUS_FOLDER}/{name} with transcripts, found "
                "none; choose another mirror"
            )
        unpacked.rename(corpus / name)
        for path in sorted((folder / CORPUS_FOLDER).iterdir()):
            # SPEAKERS.TXT and the like, the same in every archive.
            if path.is_file():
                path.replace(corpus / path.name)
    except ArchiveError:
        archive.unlink()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    archive.unlink()
    logger.info("unpacked %s, archive intact", corpus / name)


def corpus_folder(root: Path) -> Path:
    """The folder of the splits, given it or its parent; it need not exist."""
    root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
    inner = root / CORPUS_FOLDER
    if inner.is_dir() or not (root.name == CORPUS_FOLDER or find_splits(root)):
        return inner
    return root


def find_splits(corpus: Path) -> list[str]:
    """Names of the folders in LibriSpeech's layout, sorted."""
    if not corpus.is_dir():
        return []
    return sorted(
        path.name
        for path in corpus.iterdir()
        if path.is_dir() and not path.name.startswith(".") and _is_split(path)
    )


def _is_split(folder: Path) -> bool:
    return next(folder.glob("*/*/*.trans.txt"), None) is not None


def find_candidates(corpus: Path, split: str) -> Candidates:
    """Pair the audio of a split with its transcripts.

    Args:
        corpus: Absolute path of the folder of the splits.
        split: Name of the split.

    Returns:
        The pairs in the order of their paths; what lacks its other half is broken.
    """
    good: list[Candidate] = []
    broken: list[BrokenItem] = []
    for chapter in sorted(path for path in (corpus / split).glob("*/*") if path.is_dir()):
        _collect_chapter(chapter, good, broken)
    return Candidates(good=good, broken=broken)


def _collect_chapter(chapter: Path, good: list[Candidate], broken: list[BrokenItem]) -> None:
    texts = _read_transcripts(chapter, broken)
    audio = sorted(path for path in chapter.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    for path in audio:
        if path.stem in texts:
            good.append(
                Candidate(
                    id=path.stem,
                    audio_filepath=path,
                    text=texts[path.stem],
                    speaker=chapter.parent.name,
                )
            )
        else:
            reason = f"{path}: expected a line for it in *.trans.txt beside it, found none; add it"
            broken.append(BrokenItem(id=path.stem, reason=reason))
    for name in sorted(texts.keys() - {path.stem for path in audio}):
        reason = f"{chapter / name}: expected its audio, found only its transcript; restore it"
        broken.append(BrokenItem(id=name, reason=reason))


def _read_transcripts(chapter: Path, broken: list[BrokenItem]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in sorted(chapter.glob("*.trans.txt")):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            reason = f"{path}: expected UTF-8 text, found {error.reason}; convert it"
            broken.append(BrokenItem(id=path.name, reason=reason))
            continue
        for line in lines:
            name, _, text = line.strip().partition(" ")
            if name in texts:
                reason = f"{path}: expected one line for each id, found {name!r} again; remove one"
                broken.append(BrokenItem(id=name, reason=reason))
            elif name:
                texts[name] = text.strip()
    return texts


LIBRISPEECH = Corpus(
    description="LibriSpeech, Mini LibriSpeech, and folders laid out like them.",
    root=f"The folder {CORPUS_FOLDER}, or the one that holds it.",
    layout="<split>/<speaker>/<chapter>/*.trans.txt",
    source="add --download",
    locate=corpus_folder,
    find_splits=find_splits,
    find_candidates=find_candidates,
    download=download,
)
