"""The score of a set of hypotheses: rates with intervals, speakers, the worst utterances."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal

from asr.data.manifest import Utterance, total_seconds
from asr.scoring.counts import AlignedPair, ErrorCounts, align_words, count_errors_batch, pool
from asr.scoring.intervals import Interval, rate_interval
from asr.scoring.significance import Comparison, compare_all
from asr.tokens.normaliser import NORMALISER_VERSION

_NAMED_IDS = 10
_WORST = 10

Missing = Literal["error", "deletions"]


@dataclass(frozen=True, kw_only=True)
class RateScore:
    """A pooled error rate with its 95 % intervals.

    Args:
        counts: Errors of all utterances together.
        by_utterance: Interval over utterances.
        by_speaker: Interval over speakers.
    """

    counts: ErrorCounts
    by_utterance: Interval
    by_speaker: Interval


@dataclass(frozen=True, kw_only=True)
class SpeakerScore:
    """The errors of one speaker.

    Args:
        speaker: The speaker's label.
        utterances: Number of utterances.
        audio_seconds: Audio of these utterances.
        words: Word errors.
        characters: Character errors.
    """

    speaker: str
    utterances: int
    audio_seconds: float
    words: ErrorCounts
    characters: ErrorCounts


@dataclass(frozen=True, kw_only=True)
class AlignedUtterance:
    """One utterance with its word errors and alignment.

    Args:
        id: The utterance.
        speaker: Its speaker; None where unknown.
        words: Word errors.
        alignment: Reference and hypothesis, word by word.
    """

    id: str
    speaker: str | None
    words: ErrorCounts
    alignment: tuple[AlignedPair, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreReport:
    """What `score` found.

    Args:
        words: Word error rate.
        characters: Character error rate.
        utterances: Number of utterances.
        audio_seconds: Audio of all utterances.
        speakers: Scores by speaker, highest word error rate first; empty if speakers are unknown.
        worst: The utterances with the most word errors, at most ten, most errors first.
        missing: Ids without hypothesis that were counted as empty ones.
        comparison: Word errors against those of the first other system; None without one.
        comparisons: Word errors against those of each other system, in their order.
        normaliser_version: Version of the normaliser that both sides went through.
    """

    words: RateScore
    characters: RateScore
    utterances: int
    audio_seconds: float
    speakers: tuple[SpeakerScore, ...]
    worst: tuple[AlignedUtterance, ...]
    missing: tuple[str, ...]
    comparison: Comparison | None
    comparisons: tuple[Comparison, ...]
    normaliser_version: int = NORMALISER_VERSION


def score(
    references: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    *,
    against: Mapping[str, Mapping[str, str]] | None = None,
    missing: Missing = "error",
) -> ScoreReport:
    """Score hypotheses against their references.

    Args:
        references: Utterances with transcripts.
        hypotheses: Text by utterance id.
        against: Other systems to compare with: text by utterance id, by name of the system.
        missing: What an utterance without hypothesis is: an error, or an empty hypothesis whose
            reference words are all deletions.

    Returns:
        The report.

    Raises:
        ValueError: There is no reference, a reference has no transcript, a hypothesis is missing,
            or one has no reference.
    """
    said = reference_texts(references)
    recognised, absent = match_texts(references, hypotheses, missing=missing, system="hypotheses")
    words = count_errors_batch(said, recognised, unit="word")
    characters = count_errors_batch(said, recognised, unit="character")
    speakers, reason = _speakers(references)
    others, absent_elsewhere = {}, []
    for name, texts in (against or {}).items():
        system = f"hypotheses to compare with ({name})"
        matched, lacking = match_texts(references, texts, missing=missing, system=system)
        others[name] = count_errors_batch(said, matched, unit="word")
        absent_elsewhere.append(tuple(lacking))
    comparisons = tuple(
        replace(comparison, missing=lacking)
        for comparison, lacking in zip(
            compare_all(words, others, speakers=speakers), absent_elsewhere, strict=True
        )
    )
    worst = sorted(
        (index for index, count in enumerate(words) if count.errors),
        key=lambda index: (-words[index].errors, words[index].reference_length, index),
    )[:_WORST]
    return ScoreReport(
        words=_rate_score(words, speakers, reason),
        characters=_rate_score(characters, speakers, reason),
        utterances=len(references),
        audio_seconds=total_seconds(references),
        speakers=() if speakers is None else _by_speaker(references, speakers, words, characters),
        worst=tuple(
            AlignedUtterance(
                id=references[index].id,
                speaker=references[index].speaker,
                words=words[index],
                alignment=align_words(said[index], recognised[index]),
            )
            for index in worst
        ),
        missing=tuple(absent),
        comparison=comparisons[0] if comparisons else None,
        comparisons=comparisons,
    )


def reference_texts(references: Sequence[Utterance]) -> list[str]:
    """The reference transcript of each utterance.

    Raises:
        ValueError: There is no utterance, or one has no transcript.
    """
    if not references:
        raise ValueError("expected utterances to score against, found none; check the manifest")
    without = [utterance.id for utterance in references if utterance.text is None]
    if without:
        raise ValueError(
            f"expected a transcript for every utterance, found none for {name_ids(without)}; "
            "score against a manifest with texts"
        )
    return [utterance.text or "" for utterance in references]


def match_texts(
    references: Sequence[Utterance],
    hypotheses: Mapping[str, str],
    *,
    missing: Missing,
    system: str,
) -> tuple[list[str], list[str]]:
    """Find the hypothesis of each reference.

    Args:
        references: The utterances.
        hypotheses: Text by utterance id.
        missing: As in `score`.
        system: What the hypotheses are, for messages.

    Returns:
        The texts in the order of the references, and the ids of those without hypothesis, whose
        text is empty.

    Raises:
        ValueError: A hypothesis is missing, or one has no reference.
    """
    absent = [utterance.id for utterance in references if utterance.id not in hypotheses]
    ids = {utterance.id for utterance in references}
    extra = [name for name in hypotheses if name not in ids]
    found = []
    if absent and missing == "error":
        found.append(f"none for {name_ids(absent)}")
    if extra:
        found.append(f"some without reference, {name_ids(extra)}")
    if found:
        raise ValueError(
            f"expected {system} for the same {len(references)} utterances as the references, found "
            f"{' and '.join(found)}; decode that manifest"
            + (
                ", or count missing ones: --missing deletions"
                if absent and missing == "error"
                else ""
            )
        )
    return [hypotheses.get(utterance.id, "") for utterance in references], absent


def name_ids(ids: Sequence[str]) -> str:
    """How many ids there are, and the first ones, for messages."""
    shown = ", ".join(ids[:_NAMED_IDS])
    return f"{len(ids)}: {shown}" + (", ..." if len(ids) > _NAMED_IDS else "")


def _speakers(references: Sequence[Utterance]) -> tuple[list[str] | None, str]:
    known = [utterance.speaker for utterance in references if utterance.speaker is not None]
    if len(known) == len(references):
        return known, ""
    return None, f"no speaker given for {len(references) - len(known)} utterances"


def _rate_score(
    counts: Sequence[ErrorCounts], speakers: Sequence[str] | None, reason: str
) -> RateScore:
    return RateScore(
        counts=pool(counts),
        by_utterance=rate_interval(counts),
        by_speaker=Interval(low=None, high=None, units=0, reason=reason)
        if speakers is None
        else rate_interval(counts, groups=speakers),
    )


def _by_speaker(
    references: Sequence[Utterance],
    speakers: Sequence[str],
    words: Sequence[ErrorCounts],
    characters: Sequence[ErrorCounts],
) -> tuple[SpeakerScore, ...]:
    members: dict[str, list[int]] = {}
    for index, speaker in enumerate(speakers):
        members.setdefault(speaker, []).append(index)
    scores = [
        SpeakerScore(
            speaker=speaker,
            utterances=len(indices),
            audio_seconds=total_seconds([references[index] for index in indices]),
            words=pool(words[index] for index in indices),
            characters=pool(characters[index] for index in indices),
        )
        for speaker, indices in members.items()
    ]
    # A speaker who says nothing yet is given words has no rate and stands first.
    return tuple(
        sorted(
            scores,
            key=lambda item: (
                -(float("inf") if item.words.rate is None else item.words.rate),
                item.speaker,
            ),
        )
    )


def to_json(report: ScoreReport) -> str:
    """The report as a JSON object.

    Its keys are the fields of `ScoreReport`; each set of counts has its `errors` and its `rate`
    too. Rates and intervals are fractions.
    """
    return json.dumps(to_record(report), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def to_record(value: object) -> object:
    """A result as JSON has it: see `to_json`."""
    if isinstance(value, tuple):
        return [to_record(item) for item in value]
    if not is_dataclass(value):
        return value
    record = {item.name: to_record(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, ErrorCounts):
        record |= {"errors": value.errors, "rate": value.rate}
    return record
