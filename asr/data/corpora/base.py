"""The contract of a public corpus: its splits, their recordings, its download, its manifests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from asr.data.download import DownloadProgress
from asr.data.validation import (
    Candidates,
    ManifestReport,
    ValidationProgress,
    write_validated_manifest,
)


class Download(Protocol):
    """Gets what is missing of some splits."""

    def __call__(
        self,
        root: Path,
        *,
        splits: Sequence[str],
        mirror: str | None = None,
        progress: DownloadProgress | None = None,
    ) -> None:
        """Download, or make on the spot.

        Args:
            root: Where the corpus is to be, as for `Corpus.prepare`.
            splits: Names of the splits; those that are there already are left as they are.
            mirror: Base address to use instead of the official one.
            progress: Told how far each download is.

        Raises:
            ValueError: A split is unknown, or an archive is damaged or unsafe.
            DownloadError: A download fails.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A public corpus, or one in its layout.

    Args:
        description: One line for people.
        root: What the folder given as root is, for people.
        layout: The files that make a split, for messages.
        source: How to come by what is missing, for messages.
        locate: Gives the folder of the splits, given the root; it need not exist.
        find_splits: Gives the names of the splits in that folder, sorted.
        find_candidates: Gives the recordings of a split, given that folder and the split's name.
        default_splits: Splits that are prepared unless others are named; None = all that are there.
        download: Gets splits; None where that needs a person, such as to accept terms.
    """

    description: str
    root: str
    layout: str
    source: str
    locate: Callable[[Path], Path]
    find_splits: Callable[[Path], Sequence[str]]
    find_candidates: Callable[[Path, str], Candidates]
    default_splits: tuple[str, ...] | None = None
    download: Download | None = None

    def prepare(
        self,
        root: Path,
        out: Path,
        *,
        splits: Sequence[str] | None = None,
        skip_broken: bool = False,
        jobs: int = 1,
        progress: ValidationProgress | None = None,
    ) -> list[ManifestReport]:
        """Write one manifest a split.

        Args:
            root: The corpus; see `Corpus.root`.
            out: Folder of the manifests `<split>.jsonl`.
            splits: Names of the splits; None = the default ones. A name given twice counts once.
            skip_broken: Leave broken items out instead of writing no manifest for their split.
            jobs: Number of threads that decode, >= 1.
            progress: Told how many items of a split are decoded.

        Returns:
            What was written and what is broken, in the order of the splits.

        Raises:
            FileNotFoundError: There is no corpus, or not every split asked for.
            ValueError: Its files cannot be read as those of this corpus.
        """
        folder = self.locate(root)
        found = self.find_splits(folder)
        wanted = list(dict.fromkeys(splits or self.default_splits or found))
        missing = [name for name in wanted if name not in found]
        if missing or not found:
            raise FileNotFoundError(
                f"expected {', '.join(missing) or 'splits'} below {folder} ({self.layout}), found "
                f"{', '.join(found) or 'no split'}; check --root and --splits or {self.source}"
            )
        return [
            write_validated_manifest(
                self.find_candidates(folder, name),
                out,
                name=name,
                skip_broken=skip_broken,
                jobs=jobs,
                progress=progress,
            )
            for name in wanted
        ]
