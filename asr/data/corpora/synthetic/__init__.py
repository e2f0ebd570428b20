"""The synthetic corpus: sentences of a small grammar spoken by espeak-ng, as LibriSpeech."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.data.corpora.librispeech import LIBRISPEECH
from asr.data.corpora.synthetic.voices import SPLITS
from asr.data.download import DownloadProgress


def _make(
    root: Path,
    *,
    splits: Sequence[str],
    mirror: str | None = None,
    progress: DownloadProgress | None = None,
) -> None:
    """Make the corpus, which is all of its splits, in place of downloading it."""
    names = [f"synthetic-{split}" for split in SPLITS]
    unknown = [name for name in splits if name not in names]
    if unknown or mirror is not None:
        raise ValueError(
            f"expected splits among {', '.join(names)} and no mirror, found "
            f"{', '.join(unknown) or mirror}; the corpus is made on the spot"
        )
    # It computes with torch, which the help of the command line does without.
    from asr.data.corpora.synthetic.corpus import generate

    generate(root)


SYNTHETIC = replace(
    LIBRISPEECH,
    description="A small corpus of SYNTHETIC speech, made on the spot without the network.",
    root="Folder in which to make LibriSpeech.",
    source="make it with `asr prepare synthetic`",
    download=_make,
)
