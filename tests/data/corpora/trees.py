"""Tiny corpora on disk, one for each entry of `CORPORA`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

_RATE_HZ = 16000


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A corpus on disk.

    Args:
        root: What `Corpus.prepare` takes.
        texts: Transcripts by id by split.
        seconds: Length of every recording.
        recordings: An audio file of each split.
    """

    root: Path
    texts: Mapping[str, Mapping[str, str]]
    seconds: float
    recordings: Mapping[str, Path]


def librispeech_tree(root: Path, splits: tuple[str, ...] = ("dev-clean", "mine")) -> Tree:
    """LibriSpeech's layout, two utterances a split."""
    texts, recordings = {}, {}
    for speaker, split in enumerate(splits, start=1):
        folder = root / "LibriSpeech" / split / str(speaker) / "7"
        folder.mkdir(parents=True)
        texts[split] = {f"{speaker}-7-0000": "ONE", f"{speaker}-7-0001": "TWO"}
        lines = [f"{name} {text}\n" for name, text in texts[split].items()]
        (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))
        for name in texts[split]:
            recordings[split] = _record(folder / f"{name}.flac")
    return Tree(root=root, texts=texts, seconds=0.2, recordings=recordings)


def synthetic_tree(root: Path) -> Tree:
    """The layout of the synthetic corpus, without espeak-ng's speech."""
    return librispeech_tree(root, ("synthetic-dev", "synthetic-test", "synthetic-train"))


def common_voice_tree(root: Path, language: str = "cy", clips: int = 2) -> Tree:
    """Common Voice's layout, with quotes that nobody escapes."""
    folder = root / language
    (folder / "clips").mkdir(parents=True)
    texts, recordings = {}, {}
    for split in ("train", "dev", "test"):
        names = [f"common_voice_{language}_{split}{number}" for number in range(clips)]
        texts[split] = {name: f'"Bore da", {name[-1]}' for name in names}
        rows = [
            f"speaker{number}\t{name}.mp3\t{text}\t2\t0\t\n"
            for number, (name, text) in enumerate(texts[split].items())
        ]
        header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\n"
        (folder / f"{split}.tsv").write_text(header + "".join(rows), encoding="utf-8")
        for name in names:
            recordings[split] = _record(folder / "clips" / f"{name}.mp3")
    (folder / "reported.tsv").write_text("sentence\tsentence_id\tlocale\treason\n")
    return Tree(root=root, texts=texts, seconds=0.2, recordings=recordings)


def _record(path: Path) -> Path:
    noise = np.random.default_rng(len(path.name)).normal(scale=0.1, size=round(0.2 * _RATE_HZ))
    soundfile.write(path, noise, _RATE_HZ)
    return path


TREES: Mapping[str, Callable[[Path], Tree]] = {
    "synthetic": synthetic_tree,
    "librispeech": librispeech_tree,
    "common_voice": common_voice_tree,
}
