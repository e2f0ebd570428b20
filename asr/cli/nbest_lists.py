"""Files of n-best lists that get further scores and another order."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.decoding.hypothesis_file import HypothesisRecord, read_records, write_hypotheses
from asr.decoding.rescoring import Nbest, RescoringWeights, rank


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
