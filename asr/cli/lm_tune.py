"""`asr lm tune`: weight tuning on the n-best lists of a development set, and files of weights."""

import json as json_format
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoder_options import read_weights_record
from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest
from asr.files import write_text
from asr.scoring.report import to_record
from asr.scoring.text import interval_text, percent
from asr.scoring.tuning import WordErrors
from asr.scoring.tuning import tune as tune_weights
from asr.transcripts.hypothesis import LM_SCORE
from asr.transcripts.hypothesis_file import read_hypotheses
from asr.transcripts.nbest import LengthUnit, RescoringWeights, score_name

# Options of `asr decode`.
_LENGTH_OPTIONS: Mapping[LengthUnit, str] = {"token": "--length-bonus", "word": "--word-score"}
LENGTH = "length"
"""Name of the bonus for each token piece or word among named weights."""


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
    weights = tuning.best[0].weights
    if json is not None:
        record = {
            "options": _options(weights, tuning.length_unit),
            "weights": _by_name(weights),
            "tuning": to_record(tuning),
        }
        write_text(json, json_format.dumps(record, indent=2) + "\n")
    words = tuning.decoded.counts.reference_length
    print(f"{tuning.utterances} utterances, {words} words; intervals of 95 % by utterance")
    print(f"as decoded: {_rate(tuning.decoded)}")
    for found in tuning.best:
        print(f"{_weight_options(found.weights)}: {_rate(found.words)}")
    if list(weights.lm_weights) == [LM_SCORE]:
        print(f"use: asr decode {_shown(_options(weights, tuning.length_unit))}")
    print(f"use: asr rescore {_weight_options(weights)}")


def _options(weights: RescoringWeights, unit: LengthUnit) -> dict[str, float]:
    """Weights by option, as `asr decode --weights` reads them.

    It has options for the language model of the search alone, and refuses those of other scores.
    """
    options = {f"--{score_name(key)}-weight": weight for key, weight in weights.lm_weights.items()}
    return options | {_LENGTH_OPTIONS[unit]: weights.length_bonus}


def _by_name(weights: RescoringWeights) -> dict[str, float]:
    """Weights by name, as `asr rescore` reads them."""
    named = {score_name(key): weight for key, weight in weights.lm_weights.items()}
    return named | {LENGTH: weights.length_bonus}


def _weight_options(weights: RescoringWeights) -> str:
    return " ".join(f"--weight {name}={value:g}" for name, value in _by_name(weights).items())


def _shown(options: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:g}" for name, value in options.items())


def _rate(words: WordErrors) -> str:
    return f"WER {percent(words.counts.rate)} % {interval_text(words.interval)}"


@dataclass(frozen=True, kw_only=True)
class NamedWeights:
    """Weights by the names of their scores, as a file holds them.

    Args:
        weights: By name of the score, and the bonus under `length`.
        length_unit: What the bonus is given for; None where there is no bonus.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    length_unit: LengthUnit | None = None


def read_named_weights(path: Path) -> NamedWeights:
    """Read the weights that `asr lm tune --json` wrote, also that of 0.1.0.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is none of its kind.
    """
    record = read_weights_record(path)
    options = record["options"]
    units = {option: unit for unit, option in _LENGTH_OPTIONS.items()}
    # 0.1.0 wrote the options alone.
    of_options = {
        LENGTH if option in units else option.removeprefix("--").removesuffix("-weight"): value
        for option, value in options.items()
    }
    weights = record.get("weights", of_options)
    if not isinstance(weights, dict):
        raise ValueError(
            f"{path}: expected weights by name, found {weights!r}; give a file that "
            "`asr lm tune --json` wrote"
        )
    for name, value in weights.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise ValueError(
                f"{path}: expected the weight of {name} to be a number, found {value!r}; correct it"
            )
    found = [units[option] for option in options if option in units]
    return NamedWeights(weights=weights, length_unit=found[0] if found else None)
