"""`asr prepare synthetic`: the embedded corpus, made on the spot."""

from pathlib import Path
from typing import Annotated

import typer


def synthetic(
    root: Annotated[Path, typer.Option(help="Folder in which to make LibriSpeech.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other recordings.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default one a core.")
    ] = None,
) -> None:
    """Make a small corpus of SYNTHETIC speech, without the network."""
    from asr.data.corpora.synthetic import generate

    summary = generate(root, seed=seed, jobs=jobs)
    print(f"{'made' if summary.made else 'found finished'}: {root / 'LibriSpeech'}")
    for name, split in summary.splits.items():
        print(
            f"{name}: {split.utterances} utterances, {split.seconds / 60:.1f} minutes, "
            f"{len(split.voices)} voices"
        )
    print("This speech is synthetic (espeak-ng); results on it say nothing about real speech.")
