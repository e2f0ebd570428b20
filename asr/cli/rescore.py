"""`asr rescore`: n-best lists ranked anew with what another recogniser hears."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.device_option import DeviceName
from asr.cli.nbest_lists import (
    NbestLists,
    SearchBonus,
    SearchWeight,
    read_nbest_lists,
    write_ranked,
)
from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest
from asr.transcripts.hypothesis import LM_SCORE, RECOGNISER_SCORE
from asr.transcripts.nbest import RescoringWeights, with_scores


def rescore(
    hyp: NbestLists,
    exp: Annotated[
        Path, typer.Argument(metavar="EXP", help="Another recogniser, one that writes text.")
    ],
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="The audio of the hypotheses.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="File to write, with this recogniser's scores added.")],
    recogniser_weight: Annotated[
        float, typer.Option(min=0.0, help="What its log-probability is multiplied by.")
    ] = 0.5,
    lm_weight: SearchWeight = 0.5,
    length_bonus: SearchBonus = 0.0,
    device: DeviceName = "auto",
) -> None:
    """Score n-best lists by another recogniser and put the best on top.

    Two recognisers that err differently, such as one of phones and one of
    spelling, know more together. The weights: rescore the n-best lists of
    a development set with any, then `asr lm tune` finds the best ones from
    that file. Words keep their times where the best text is that of before.
    """
    from asr.inference.rescoring import text_log_probs
    from asr.recognizer import load

    check_outputs([out], inputs=[hyp, manifest])
    records = read_nbest_lists(hyp)
    utterances = {utterance.id: utterance for utterance in read_manifest(manifest)}
    absent = [record.id for record in records if record.id not in utterances]
    if absent:
        raise ValueError(
            f"{manifest}: expected the audio of every hypothesis, found none of {absent[0]!r} "
            f"({len(absent)} lacking); give the manifest that was decoded"
        )
    recognizer = load(exp, device=device)
    nbests = []
    for record in records:
        nbest = record.hypothesis.nbest
        scores = text_log_probs(
            utterances[record.id],
            [each.text for each in nbest],
            acoustic_model=recognizer.acoustic_model,
            tokenizer=recognizer.tokenizer,
        )
        nbests.append(with_scores(nbest, scores, RECOGNISER_SCORE))
    weights = RescoringWeights(
        lm_weights={LM_SCORE: lm_weight, RECOGNISER_SCORE: recogniser_weight},
        length_bonus=length_bonus,
    )
    write_ranked(out, records, nbests, weights)
