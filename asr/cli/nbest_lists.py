"""Files of n-best lists that get further scores and another order."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from asr.transcripts.hypothesis_file import HypothesisRecord, read_records, write_hypotheses
from asr.transcripts.nbest import Nbest, RescoringWeights, rank

NbestLists: TypeAlias = Annotated[
    Path, typer.Argument(metavar="HYP", help="Hypotheses that were decoded with --nbest.")
]
SearchWeight: TypeAlias = Annotated[
    float,
    typer.Option(
        "--lm-weight",
        min=0.0,
        help="What the log-probability by the language model of the search is multiplied by.",
    ),
]
SearchBonus: TypeAlias = Annotated[
    float,
    typer.Option(
        "--length-bonus",
        "--word-score",
        help="Added to the log-probability for each token piece, or for each word where the "
        "search found words.",
    ),
]


def read_nbest_lists(path: Path) -> list[HypothesisRecord]:
    """Read hypotheses that were decoded with `--nbest`.

    Raises:
        ValueError: A line is damaged or has no n-best list, or there is none.
    """
    records = read_records(path)
    without = [record.id for record in records if not record.hypothesis.nbest]
    if without or not records:
        raise ValueError(
            f"{path}: expected an n-best list in every line, found {len(without)} of "
            f"{len(records)} lines without; decode with --nbest"
        )
    return records


def write_ranked(
    path: Path,
    records: Sequence[HypothesisRecord],
    nbests: Sequence[Nbest],
    weights: RescoringWeights,
) -> None:
    """Write hypotheses with new scores, the best of each list on top."""
    ranked = [
        replace(record, hypothesis=rank(record.hypothesis, nbest, weights))
        for record, nbest in zip(records, nbests, strict=True)
    ]
    write_hypotheses(path, ranked)
