from pathlib import Path

import pytest
from praatio import textgrid as praatio

from asr.transcripts.formats.textgrid import textgrid
from asr.transcripts.hypothesis import Hypothesis, Word


def spoken(*words: tuple[str, float, float], duration: float) -> Hypothesis:
    return Hypothesis.of_words(
        tuple(
            Word(word=word, start_seconds=start, end_seconds=end, confidence=0.5)
            for word, start, end in words
        ),
        score=-1.0,
        duration_seconds=duration,
    )


def intervals(hypothesis: Hypothesis, folder: Path) -> list[tuple[float, float, str]]:
    """What praatio reads, empty intervals included."""
    path = folder / "a.TextGrid"
    path.write_text(textgrid(hypothesis), encoding="utf-8")
    read = praatio.openTextgrid(str(path), includeEmptyIntervals=True)
    assert read.tierNames == ("words",)
    assert (read.minTimestamp, read.maxTimestamp) == (0, pytest.approx(hypothesis.duration_seconds))
    return [(entry.start, entry.end, entry.label) for entry in read.getTier("words").entries]


def test_gaps_are_empty_intervals(tmp_path: Path) -> None:
    words = [("ÄH", 0.5, 0.75), ("日本", 0.75, 1.0), ("X", 1.25, 1.5)]
    assert intervals(spoken(*words, duration=2.12345), tmp_path) == [
        (0, 0.5, ""),
        (0.5, 0.75, "ÄH"),
        (0.75, 1.0, "日本"),
        (1.0, 1.25, ""),
        (1.25, 1.5, "X"),
        (1.5, 2.12345, ""),
    ]


def test_words_may_fill_the_audio(tmp_path: Path) -> None:
    found = intervals(spoken(("A", 0.0, 1.0), ("B", 1.0, 2.0), duration=2.0), tmp_path)
    assert found == [(0, 1.0, "A"), (1.0, 2.0, "B")]


def test_an_empty_transcript_is_one_empty_interval(tmp_path: Path) -> None:
    assert intervals(spoken(duration=0.05), tmp_path) == [(0, 0.05, "")]


def test_words_without_length_get_a_millisecond(tmp_path: Path) -> None:
    words = [("A", 0.5, 0.5), ("B", 0.5, 0.5), ("C", 0.5, 1.0), ("D", 1.0, 1.0)]
    assert intervals(spoken(*words, duration=1.0), tmp_path) == [
        (0, 0.5, ""),
        (0.5, 0.501, "A"),
        (0.501, 0.502, "B"),
        (0.502, 0.999, "C"),
        (0.999, 1.0, "D"),
    ]


def test_quotation_marks_are_doubled(tmp_path: Path) -> None:
    text = textgrid(spoken(('A"B', 0.0, 1.0), duration=1.0))
    assert 'text = "A""B"' in text


def test_more_words_than_milliseconds() -> None:
    with pytest.raises(ValueError, match="found 3 words in 2 ms"):
        textgrid(spoken(*[("A", 0.0, 0.0)] * 3, duration=0.002))
