"""Filtering of training utterances: known beforehand, counted by reason, not dropped in silence."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr.data.manifest import Utterance, total_seconds

logger = logging.getLogger(__name__)

_SHOWN_IDS = 5


@dataclass(frozen=True, kw_only=True)
class FilterReport:
    """Report of the utterances left out of training, by reason.

    Args:
        total: Utterances before.
        kept: Utterances to train on.
        kept_seconds: Their duration.
        without_text: Ids left out because they have no transcript.
        too_short: Ids left out because they are shorter than the config allows.
        too_long: Ids left out because they are longer than the config allows.
        too_short_for_transcript: Ids left out because CTC cannot align them with their transcript.
        empty_transcript: Ids kept although their transcript has no labels.
    """

    total: int
    kept: int
    kept_seconds: float
    without_text: tuple[str, ...]
    too_short: tuple[str, ...]
    too_long: tuple[str, ...]
    too_short_for_transcript: tuple[str, ...]
    empty_transcript: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingUtterances:
    """Utterances to train on, and what was left out.

    Args:
        utterances: In their former order.
        report: What was left out.
    """

    utterances: list[Utterance]
    report: FilterReport


def filter_utterances(
    utterances: Sequence[Utterance],
    *,
    min_seconds: float,
    max_seconds: float,
    encode: Callable[[str], list[int]],
    fits: Callable[[float, list[int]], bool],
    unknown_characters: Callable[[str], set[str]],
) -> TrainingUtterances:
    """Leave out what cannot be trained on, and log how many for each reason (the ids at debug).

    Args:
        utterances: What there is.
        min_seconds: Shorter utterances are left out.
        max_seconds: Longer utterances are left out.
        encode: From text to labels, 1 .. number of pieces.
        fits: Whether an utterance of so many seconds has enough frames for CTC to give these
            labels, at the fastest speed perturbation.
        unknown_characters: Characters of a text that `encode` has no label for.

    Returns:
        The rest, and what was left out. Utterances without any label stay.

    Raises:
        ValueError: A transcript has characters without a label, or nothing is left.
    """
    kept: list[Utterance] = []
    reasons: dict[str, list[str]] = {
        "without_text": [],
        "too_short": [],
        "too_long": [],
        "too_short_for_transcript": [],
    }
    empty: list[str] = []
    unknown: dict[str, set[str]] = {}
    for utterance in utterances:
        text, seconds = utterance.text, utterance.duration_seconds
        if text is None:
            reasons["without_text"].append(utterance.id)
        elif seconds < min_seconds:
            reasons["too_short"].append(utterance.id)
        elif seconds > max_seconds:
            reasons["too_long"].append(utterance.id)
        elif characters := unknown_characters(text):
            unknown[utterance.id] = characters
        elif not (labels := encode(text)):
            empty.append(utterance.id)
            kept.append(utterance)
        elif not fits(seconds, labels):
            reasons["too_short_for_transcript"].append(utterance.id)
        else:
            kept.append(utterance)
    _raise_on_unknown(unknown)
    report = FilterReport(
        total=len(utterances),
        kept=len(kept),
        kept_seconds=total_seconds(kept),
        empty_transcript=tuple(empty),
        **{reason: tuple(ids) for reason, ids in reasons.items()},
    )
    _log(report, reasons | {"empty_transcript": empty})
    if not kept:
        counts = ", ".join(f"{reason} {len(ids)}" for reason, ids in reasons.items())
        raise ValueError(
            f"expected utterances to train on, found none of {len(utterances)} usable ({counts}); "
            "correct the manifest or the limits in [data]"
        )
    return TrainingUtterances(utterances=kept, report=report)


def _raise_on_unknown(unknown: dict[str, set[str]]) -> None:
    if not unknown:
        return
    characters = " ".join(sorted(repr(character) for character in set().union(*unknown.values())))
    ids = ", ".join(list(unknown)[:_SHOWN_IDS])
    more = f" and {len(unknown) - _SHOWN_IDS} more" if len(unknown) > _SHOWN_IDS else ""
    raise ValueError(
        f"expected transcripts of characters that the tokenizer knows, found {characters} in "
        f"{ids}{more}; train the tokenizer on this text or correct the transcripts"
    )


def _log(report: FilterReport, reasons: dict[str, list[str]]) -> None:
    logger.info(
        "training on %d of %d utterances, %.2f h",
        report.kept,
        report.total,
        report.kept_seconds / 3600,
    )
    for reason, ids in reasons.items():
        if ids:
            verb = "kept" if reason == "empty_transcript" else "left out"
            logger.warning("%s %d utterances: %s", verb, len(ids), reason.replace("_", " "))
            logger.debug("%s: %s", reason.replace("_", " "), ", ".join(ids))
