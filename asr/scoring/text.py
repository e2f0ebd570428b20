"""A score report as text for a terminal."""

import unicodedata
from collections.abc import Iterator, Sequence

from asr.scoring.counts import AlignedPair, ErrorCounts
from asr.scoring.intervals import FEW_UNITS, Interval
from asr.scoring.report import AlignedUtterance, RateScore, ScoreReport, SpeakerScore
from asr.scoring.significance import Comparison, PairedTests

_LINE_COLUMNS = 100


def to_text(report: ScoreReport) -> str:
    """The report as text: headline, comparison, speakers, alignments of the worst utterances.

    Args:
        report: What `asr.scoring.report.score` found.

    Returns:
        Lines, the last one ended too. Rates are percentages.
    """
    speakers = report.words.by_speaker
    lines = [
        _headline("WER", report.words),
        _headline("CER", report.characters),
        f"{report.utterances} utterances, {report.audio_seconds / 3600:.2f} h of audio; "
        f"{report.words.counts.reference_length} words, "
        f"{report.characters.counts.reference_length} characters; "
        f"normaliser version {report.normaliser_version}",
    ]
    if speakers.low is not None and speakers.units < FEW_UNITS:
        lines.append(
            f"{speakers.units} speakers are few: an interval over fewer than {FEW_UNITS} is "
            "too narrow (over 3 it covers the truth in about 74 % of cases, over 10 in 89 %)"
        )
    if report.missing:
        lines.append(f"{len(report.missing)} missing hypotheses counted as deletions")
    for comparison in report.comparisons:
        lines += ["", *_comparison(comparison, systems=len(report.comparisons))]
    if report.speakers:
        lines += ["", *_speaker_table(report.speakers)]
    for utterance in report.worst:
        lines += ["", *_aligned(utterance)]
    return "\n".join(lines) + "\n"


def percent(rate: float | None) -> str:
    """A rate, a fraction, in percent."""
    return "undefined" if rate is None else f"{100 * rate:.2f}"


def interval_text(interval: Interval) -> str:
    """An interval of rates in percent, or why there is none."""
    if interval.low is None:
        return f"no interval: {interval.reason}"
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def _headline(name: str, scored: RateScore) -> str:
    utterances, speakers = scored.by_utterance, scored.by_speaker
    return (
        f"{name} {percent(scored.counts.rate)} % "
        f"{interval_text(utterances)} (95 % by utterance, {utterances.units}), "
        f"{interval_text(speakers)} (by speaker, {speakers.units}); {_kinds(scored.counts)}"
    )


def _kinds(counts: ErrorCounts) -> str:
    return f"S/D/I {counts.substitutions}/{counts.deletions}/{counts.insertions}"


def _comparison(comparison: Comparison, *, systems: int) -> Iterator[str]:
    yield (
        f"Against {comparison.system} with WER {percent(comparison.other.rate)} %: difference "
        f"{signed(comparison.difference)} points (below 0: this system is better)"
    )
    if comparison.missing:
        yield f"  {len(comparison.missing)} of its hypotheses are missing, counted as deletions"
    yield f"  by utterance: {_tests(comparison.by_utterance, systems)}"
    if comparison.by_speaker is not None:
        yield f"  by speaker: {_tests(comparison.by_speaker, systems)}"


def signed(difference: float | None) -> str:
    """A difference of rates, a fraction, in percentage points."""
    return "undefined" if difference is None else f"{100 * difference:+.2f}"


def _tests(tests: PairedTests, systems: int) -> str:
    interval = tests.interval
    corrected = f", Holm over {systems}" if systems > 1 else ""
    parts = [
        str(interval.units),
        interval_text(interval)
        if interval.low is None
        else f"95 % [{signed(interval.low)}, {signed(interval.high)}]",
    ]
    if tests.matched_pairs_holm_p is not None:
        parts.append(f"p = {tests.matched_pairs_holm_p:.4f} (matched pairs{corrected})")
    if tests.bootstrap_holm_p is not None:
        parts.append(f"p = {tests.bootstrap_holm_p:.4f} (paired bootstrap{corrected})")
    return ", ".join(parts)


def _speaker_table(speakers: Sequence[SpeakerScore]) -> Iterator[str]:
    width = max(len("speaker"), *(len(item.speaker) for item in speakers))
    yield f"{'speaker':<{width}}  utterances  minutes   words    WER %    CER %  S/D/I"
    for item in speakers:
        yield (
            f"{item.speaker:<{width}}  {item.utterances:>10}  {item.audio_seconds / 60:>7.1f}"
            f"  {item.words.reference_length:>6}  {percent(item.words.rate):>7}"
            f"  {percent(item.characters.rate):>7}  {_kinds(item.words).removeprefix('S/D/I ')}"
        )


def _aligned(utterance: AlignedUtterance) -> Iterator[str]:
    counts = utterance.words
    speaker = "" if utterance.speaker is None else f", speaker {utterance.speaker}"
    yield (
        f"{utterance.id}{speaker}: {counts.errors} errors in {counts.reference_length} words, "
        f"{_kinds(counts)}"
    )
    for row in _rows(utterance.alignment):
        columns = [_column(pair) for pair in row]
        for name, cells in zip(
            ("REF: ", "HYP: ", "EVAL:"), zip(*columns, strict=True), strict=True
        ):
            yield f"  {name} {' '.join(cells)}".rstrip()


def _column(pair: AlignedPair) -> tuple[str, str, str]:
    width = _width(pair)
    words = (pair.reference, pair.hypothesis)
    reference, hypothesis = ("*" * width if word is None else word for word in words)
    return _padded(reference, width), _padded(hypothesis, width), _padded(pair.error, width)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _width(pair: AlignedPair) -> int:
    return max(_columns(pair.reference or ""), _columns(pair.hypothesis or ""))


def _columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.category(character) in {"Mn", "Me"} for character in text)
    return len(text) + wide - marks


def _rows(alignment: Sequence[AlignedPair]) -> Iterator[list[AlignedPair]]:
    row: list[AlignedPair] = []
    columns = 0
    for pair in alignment:
        if row and columns + _width(pair) > _LINE_COLUMNS:
            yield row
            row, columns = [], 0
        row.append(pair)
        columns += _width(pair) + 1
    if row:
        yield row
