"""`asr rescore`: N-best rescoring by language models and other recognisers."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.device_option import DeviceName
from asr.cli.lm_tune import LENGTH, NamedWeights, read_named_weights
from asr.cli.outputs import check_outputs
from asr.data.manifest import Utterance, read_manifest
from asr.decoders import BATCH_SECONDS
from asr.files import LM_DESCRIPTION_FILE
from asr.transcripts.hypothesis_file import HypothesisRecord, HypothesisWriter, read_records
from asr.transcripts.nbest import (
    Nbest,
    RescoringWeights,
    add_scores,
    length_unit,
    rank,
    score_field,
    score_fields,
    score_name,
    with_scores,
)

if TYPE_CHECKING:
    from asr.recognizer import Recognizer

ACOUSTIC = "acoustic"
# What every list has beside named scores: acoustic_score, score, blank_penalty_score, its length.
_RESERVED = (ACOUSTIC, LENGTH, "score", "blank_penalty")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def rescore(
    hyp: Annotated[
        Path, typer.Argument(metavar="HYP", help="Hypotheses that were decoded with --nbest.")
    ],
    *,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=EXP_OR_LM",
            help="Scores to add under a name: of a language model (a folder of `asr lm train`, an "
            "ARPA file or kenlm's binary) or of another recogniser that writes text (a folder of "
            "`asr train`, with --audio). May be repeated.",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="Audio of the hypotheses, for other recognisers."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=X",
            help="What the scores of a name are multiplied by: names given to --add, now or "
            f"before; lm, the language model of the search; {ACOUSTIC}, 1 unless given; and "
            f"{LENGTH}, a bonus for each token piece, or each word where the search found words, "
            "0 unless given. May be repeated.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights that `asr lm tune --json` wrote; --weight comes before them.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Hypotheses to write.")],
    batch_seconds: Annotated[
        float, typer.Option(min=1.0, help="Most audio in a batch, padding included, in seconds.")
    ] = BATCH_SECONDS,
    device: DeviceName = "auto",
) -> None:
    """Score n-best lists by further models, and rank them by weights.

    Without weights the scores are added, and order and texts stay as they
    were: `asr lm tune` finds the weights on the lists of a development set.
    With weights every score of the lists needs one, and the best text comes
    first; words keep their times where it is the text of before.

    A recording that cannot be read is named on standard error and its
    hypothesis left out; the others are written, and the exit status is 1.
    """
    sources = _sources(add or [])
    given = _given_weights(weight or [])
    recognisers = [name for name, path in sources.items() if _is_recogniser(path)]
    _check_usage(recognisers, sources=sources, audio=audio, weighted=bool(weight or weights))
    utterances = {} if audio is None else {each.id: each for each in read_manifest(audio)}
    inputs = [hyp, *(path for path in (audio, weights) if path is not None)]
    inputs += [file for path in sources.values() for file in _files(path)]
    inputs += [utterance.audio_filepath for utterance in utterances.values()]
    check_outputs([out], inputs=inputs)
    lists = _read_lists(hyp)
    _check_new(sources, lists, hyp)
    if recognisers:
        _check_audio(lists, utterances, audio)
    factors = None
    if weight or weights:
        tuned = NamedWeights() if weights is None else read_named_weights(weights)
        factors = _factors(lists, sources, given=given, tuned=tuned, hyp=hyp)
    # Before a model is loaded, so that an output that cannot be written is found at once.
    with HypothesisWriter(out) as writer:
        kept = lists
        for name, path in sources.items():
            if not kept:
                break
            if name in recognisers:
                kept = _add_recogniser(
                    kept, name, path, utterances, device=device, batch_seconds=batch_seconds
                )
            else:
                kept = _add_language_model(kept, name, path, device)
        for each in kept:
            writer.append(each.record(factors))
        if kept:
            writer.finish()
    if len(kept) < len(lists):
        others = f"the others are in {out}" if kept else "nothing is written"
        print(
            f"error: expected audio of {len(lists)} hypotheses, found {len(lists) - len(kept)} "
            f"recordings that cannot be used, named above; {others}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _ScoredList:
    """A hypothesis and its n-best list with the scores so far."""

    source: HypothesisRecord
    nbest: Nbest

    def record(self, weights: RescoringWeights | None) -> HypothesisRecord:
        """The line to write: in the order of before, or by weights."""
        hypothesis = self.source.hypothesis
        if weights is None:
            return replace(self.source, hypothesis=replace(hypothesis, nbest=self.nbest))
        return replace(self.source, hypothesis=rank(hypothesis, self.nbest, weights))


def _pair(argument: str, *, option: str, metavar: str) -> tuple[str, str]:
    name, separator, value = argument.partition("=")
    if not separator or not _NAME.fullmatch(name) or not value:
        raise typer.BadParameter(f"expected {metavar}, found {argument!r}", param_hint=option)
    return name, value


def _sources(arguments: Sequence[str]) -> dict[str, Path]:
    """Models of --add by their names."""
    sources: dict[str, Path] = {}
    for argument in arguments:
        name, path = _pair(argument, option="--add", metavar="NAME=EXP_OR_LM")
        if name in _RESERVED:
            raise typer.BadParameter(
                f"expected another name than {', '.join(_RESERVED)}, which every list has of "
                f"itself, found {name!r}",
                param_hint="--add",
            )
        if name in sources:
            raise typer.BadParameter(
                f"expected each name once, found {name!r} again", param_hint="--add"
            )
        sources[name] = Path(path)
        if not sources[name].exists():
            raise FileNotFoundError(
                f"expected a language model or a recogniser at {path}, found nothing; give a "
                "folder that `asr lm train` or `asr train` wrote, an ARPA file or kenlm's binary"
            )
    return sources


def _is_recogniser(path: Path) -> bool:
    return path.is_dir() and not (path / LM_DESCRIPTION_FILE).is_file()


def _files(path: Path) -> list[Path]:
    """The files of a model."""
    return list(path.iterdir()) if path.is_dir() else [path]


def _given_weights(arguments: Sequence[str]) -> dict[str, float]:
    given: dict[str, float] = {}
    for argument in arguments:
        name, text = _pair(argument, option="--weight", metavar="NAME=X")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (value < 0 and name != LENGTH):
            raise typer.BadParameter(
                f"expected a finite number{'' if name == LENGTH else ' of at least 0'} after "
                f"{name}=, found {text!r}",
                param_hint="--weight",
            )
        if name in given:
            raise typer.BadParameter(
                f"expected each name once, found {name!r} again", param_hint="--weight"
            )
        given[name] = value
    return given


def _check_usage(
    recognisers: Sequence[str],
    *,
    sources: Mapping[str, Path],
    audio: Path | None,
    weighted: bool,
) -> None:
    if not sources and not weighted:
        raise typer.BadParameter(
            "expected scores to add or weights to rank by, found neither", param_hint="--add"
        )
    if recognisers and audio is None:
        raise typer.BadParameter(
            f"needed for {recognisers[0]!r}: {sources[recognisers[0]]} is no language model, and "
            "another recogniser has to hear the audio",
            param_hint="--audio",
        )
    if audio is not None and not recognisers:
        raise typer.BadParameter(
            "needs another recogniser in --add; language models read texts alone",
            param_hint="--audio",
        )


def _read_lists(path: Path) -> list[_ScoredList]:
    records = read_records(path)
    without = [record.id for record in records if not record.hypothesis.nbest]
    if without or not records:
        raise ValueError(
            f"{path}: expected an n-best list in every line, found {len(without)} of "
            f"{len(records)} lines without; decode with --nbest"
        )
    return [_ScoredList(source=record, nbest=record.hypothesis.nbest) for record in records]


def _check_new(sources: Mapping[str, Path], lists: Sequence[_ScoredList], hyp: Path) -> None:
    alternatives = [alternative for each in lists for alternative in each.nbest]
    fields = {field for alternative in alternatives for field in alternative.lm_scores}
    for name in sources:
        if score_field(name) in fields:
            raise ValueError(
                f"{hyp}: expected lists without scores of the name {name!r}, found some; give "
                "the scores to add another name"
            )


def _check_audio(
    lists: Sequence[_ScoredList], utterances: Mapping[str, Utterance], manifest: Path | None
) -> None:
    absent = [each.source.id for each in lists if each.source.id not in utterances]
    if absent:
        raise ValueError(
            f"{manifest}: expected the audio of every hypothesis, found none of {absent[0]!r} "
            f"({len(absent)} lacking); give the manifest that was decoded"
        )


def _factors(
    lists: Sequence[_ScoredList],
    sources: Mapping[str, Path],
    *,
    given: Mapping[str, float],
    tuned: NamedWeights,
    hyp: Path,
) -> RescoringWeights:
    """The weight of every score that the lists will hold.

    Raises:
        ValueError: A score has no weight, a weight no score, or the tuned bonus counts what these
            lists do not.
    """
    nbests = [each.nbest for each in lists]
    fields = {score_name(field): field for field in score_fields(nbests)}
    fields |= {name: score_field(name) for name in sources}
    weights = {**tuned.weights, **given}
    lacking = [name for name in fields if name not in weights]
    if lacking:
        raise ValueError(
            f"{hyp}: expected a weight of every score of the lists, found none of {lacking[0]!r}; "
            f"give --weight {lacking[0]}=X, 0 to leave the score out"
        )
    absent = [name for name in weights if name not in fields and name not in (ACOUSTIC, LENGTH)]
    if absent:
        raise ValueError(
            f"{hyp}: expected weights of the lists' scores ({', '.join(sorted(fields))}), found "
            f"one of {absent[0]!r}; add the score with --add, or leave the weight out"
        )
    if tuned.length_unit is not None and LENGTH not in given:
        unit = length_unit(nbests)
        if tuned.weights.get(LENGTH) and unit != tuned.length_unit:
            raise ValueError(
                f"{hyp}: expected lists whose length counts {tuned.length_unit}s, as those of the "
                f"tuned weights, found {unit}s; tune on lists of the same search, or give "
                f"--weight {LENGTH}=X"
            )
    return RescoringWeights(
        lm_weights={field: weights[name] for name, field in fields.items()},
        length_bonus=weights.get(LENGTH, 0.0),
        acoustic_weight=weights.get(ACOUSTIC, 1.0),
    )


def _add_language_model(
    lists: Sequence[_ScoredList], name: str, path: Path, device: DeviceName
) -> list[_ScoredList]:
    """Add the scores of a language model over token pieces or words."""
    log_probs = _piece_log_probs(path, device) if path.is_dir() else _word_log_probs(path)
    nbests = add_scores([each.nbest for each in lists], log_probs, name=name)
    return [replace(each, nbest=nbest) for each, nbest in zip(lists, nbests, strict=True)]


def _piece_log_probs(folder: Path, device: DeviceName) -> Callable[[Sequence[str]], list[float]]:
    import numpy as np

    from asr.lm.load import load_language_model

    model = load_language_model(folder, device=device)

    def log_probs(texts: Sequence[str]) -> list[float]:
        for text in texts:
            lacking = model.tokenizer.unknown_characters(text)
            if lacking:
                raise ValueError(
                    f"{folder}: expected a language model whose tokenizer has all characters of "
                    f"the lists, found none for {sorted(lacking)} in {text[:80]!r}; give another"
                )
        labels = [np.array(model.tokenizer.encode(text), dtype=np.int32) for text in texts]
        scores: list[float] = model.sentence_log_probs(labels).tolist()
        return scores

    return log_probs


def _word_log_probs(path: Path) -> Callable[[Sequence[str]], list[float]]:
    from asr.lm.word_level import word_log_probs

    return lambda texts: word_log_probs(path, texts)


def _add_recogniser(
    lists: Sequence[_ScoredList],
    name: str,
    path: Path,
    utterances: Mapping[str, Utterance],
    *,
    device: DeviceName,
    batch_seconds: float,
) -> list[_ScoredList]:
    """Add the scores of another recogniser; lists whose audio cannot be used are left out."""
    from asr.devices import is_out_of_memory
    from asr.recognizer import load

    recognizer = load(path, device=device)
    try:
        scores = _heard(lists, recognizer, utterances, batch_seconds)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"expected a batch of {batch_seconds:g} s to fit the device, found: "
            f"{str(error).splitlines()[0]}; lower --batch-seconds"
        ) from None
    return [
        replace(each, nbest=with_scores(each.nbest, scores[index], name))
        for index, each in enumerate(lists)
        if index in scores
    ]


def _heard(
    lists: Sequence[_ScoredList],
    recognizer: Recognizer,
    utterances: Mapping[str, Utterance],
    batch_seconds: float,
) -> dict[int, tuple[float, ...]]:
    """Scores of the texts of each list, by its place; what cannot be read is named."""
    from asr.inference.rescoring import text_log_probs

    scores: dict[int, tuple[float, ...]] = {}
    for found in text_log_probs(
        [utterances[each.source.id] for each in lists],
        [[alternative.text for alternative in each.nbest] for each in lists],
        acoustic_model=recognizer.acoustic_model,
        tokenizer=recognizer.tokenizer,
        batch_seconds=batch_seconds,
    ):
        if found.error is None:
            scores[found.index] = found.log_probs
        else:
            print(f"error: {lists[found.index].source.id}: {found.error}", file=sys.stderr)
    return scores
