"""`asr lm tune`: n-best lists of a development set to weights."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest
from asr.files import write_text
from asr.scoring.report import to_record
from asr.scoring.text import interval_text, percent
from asr.scoring.tuning import Tuning, WordErrors
from asr.scoring.tuning import tune as tune_weights
from asr.transcripts.hypothesis_file import read_hypotheses
from asr.transcripts.nbest import RescoringWeights

_LENGTH_OPTIONS = {"token": "--length-bonus", "word": "--word-score"}


def tune(
    hyp: Annotated[
        Path,
        typer.Argument(
            metavar="HYP", help="Hypotheses of a development set, decoded with --lm and --nbest."
        ),
    ],
    *,
    ref: Annotated[Path, typer.Option(help="Manifest of that set, with transcripts.")],
    json: Annotated[
        Path | None, typer.Option(help="File to write the figures to, as JSON.")
    ] = None,
) -> None:
    """Find the weights of language models with the fewest word errors.

    Weights from 0 to 2 and bonuses from -2 to 4 are tried on the n-best
    lists, then more of them around the best. The lists hold what the
    weights of the search led to: where the found ones differ much from
    these, decode again with them and tune once more.
    """
    check_outputs([json], inputs=[hyp, ref])
    tuning = tune_weights(read_manifest(ref), read_hypotheses(hyp))
    options = _options(tuning.best[0].weights, tuning)
    if json is not None:
        record = {"options": options, "tuning": to_record(tuning)}
        write_text(json, json_format.dumps(record, indent=2) + "\n")
    words = tuning.decoded.counts.reference_length
    print(f"{tuning.utterances} utterances, {words} words; intervals of 95 % by utterance")
    print(f"as decoded: {_rate(tuning.decoded)}")
    for found in tuning.best:
        print(f"{_shown(_options(found.weights, tuning))}: {_rate(found.words)}")
    print(f"use: {_shown(options)}")


def _options(weights: RescoringWeights, tuning: Tuning) -> dict[str, float]:
    """The options that stand for weights."""
    options = {
        f"--{name.removesuffix('_score')}-weight": weight
        for name, weight in weights.lm_weights.items()
    }
    return options | {_LENGTH_OPTIONS[tuning.length_unit]: weights.length_bonus}


def _shown(options: dict[str, float]) -> str:
    return " ".join(f"{name} {value:g}" for name, value in options.items())


def _rate(words: WordErrors) -> str:
    return f"WER {percent(words.counts.rate)} % {interval_text(words.interval)}"
