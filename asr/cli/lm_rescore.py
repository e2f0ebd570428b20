"""`asr lm rescore`: n-best lists ranked anew with one more language model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from asr.cli.nbest_lists import (
    NbestLists,
    SearchBonus,
    SearchWeight,
    read_nbest_lists,
    write_ranked,
)
from asr.transcripts.hypothesis import LM_SCORE, RESCORING_SCORE
from asr.transcripts.nbest import RescoringWeights, add_scores


def rescore(
    hyp: NbestLists,
    lm: Annotated[Path, typer.Argument(metavar="LM", help="Folder that `asr lm train` wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="File to write, with this model's scores added.")],
    rescoring_weight: Annotated[
        float, typer.Option(min=0.0, help="What this model's log-probability is multiplied by.")
    ] = 0.5,
    lm_weight: SearchWeight = 0.0,
    length_bonus: SearchBonus = 0.0,
    device: Annotated[str, typer.Option(help="Where a Transformer runs: cpu or cuda.")] = "cpu",
) -> None:
    """Score n-best lists by one more language model and put the best on top.

    The weights: rescore the n-best lists of a development set with any,
    then `asr lm tune` finds the best ones from that file. Words keep their
    times where the best text is that of before.
    """
    from asr.lm.load import load_language_model

    records = read_nbest_lists(hyp)
    model = load_language_model(lm, device=device)

    def log_probs(texts: Sequence[str]) -> list[float]:
        labels = [np.array(model.tokenizer.encode(text), dtype=np.int32) for text in texts]
        scores: list[float] = model.sentence_log_probs(labels).tolist()
        return scores

    nbests = [record.hypothesis.nbest for record in records]
    scored = add_scores(nbests, log_probs, name=RESCORING_SCORE)
    weights = RescoringWeights(
        lm_weights={LM_SCORE: lm_weight, RESCORING_SCORE: rescoring_weight},
        length_bonus=length_bonus,
    )
    write_ranked(out, records, scored, weights)
