import json
from pathlib import Path

import pytest

from asr.data.manifest import Utterance
from asr.scoring.report import Missing, ScoreReport, score, to_json
from asr.scoring.text import to_text


def utterance(name: str, text: str | None, speaker: str | None = "ann") -> Utterance:
    return Utterance(
        id=name, audio_filepath=Path("/a.flac"), duration_seconds=36.0, text=text, speaker=speaker
    )


REFERENCES = [
    utterance("u1", "THE CAT SAT ON THE MAT"),
    utterance("u2", "A DOG RAN", "bob"),
    utterance("u3", "", "bob"),
    utterance("u4", "It\u2019s late", "cay"),
]
HYPOTHESES = {"u4": "its late", "u3": "UM", "u2": "A DOG RAN", "u1": "THE BAT SAT THE MAT NOW"}
OTHER = {**HYPOTHESES, "u1": "THE CAT SAT ON THE MAT"}
# By hand. Words: u1 one substitution, deletion, insertion; u3 one insertion; u4 one substitution.
# Characters: u1 C/B, ON and a blank deleted, " NOW" inserted; u3 UM inserted; u4 ' deleted.


@pytest.fixture(scope="module")
def report() -> ScoreReport:
    return score(REFERENCES, HYPOTHESES, against={"base": OTHER})


def test_pooled_counts_by_hand(report: ScoreReport) -> None:
    words, characters = report.words.counts, report.characters.counts
    assert (words.substitutions, words.deletions, words.insertions) == (2, 1, 2)
    assert words.reference_length == 6 + 3 + 0 + 2
    assert words.rate == 5 / 11
    assert (characters.substitutions, characters.deletions, characters.insertions) == (1, 4, 6)
    assert characters.reference_length == 22 + 9 + 0 + 9
    assert (report.utterances, report.audio_seconds) == (4, 144.0)


def test_intervals_are_by_utterance_and_by_speaker(report: ScoreReport) -> None:
    for scored in (report.words, report.characters):
        assert (scored.by_utterance.units, scored.by_speaker.units) == (4, 3)
        assert scored.counts.rate is not None
        for interval in (scored.by_utterance, scored.by_speaker):
            assert interval.low is not None
            assert interval.high is not None
            assert interval.low < scored.counts.rate < interval.high


def test_speakers_from_the_highest_rate_down(report: ScoreReport) -> None:
    table = [
        (item.speaker, item.utterances, item.audio_seconds, item.words.errors)
        for item in report.speakers
    ]
    assert table == [("ann", 1, 36.0, 3), ("cay", 1, 36.0, 1), ("bob", 2, 72.0, 1)]
    assert [item.words.reference_length for item in report.speakers] == [6, 2, 3]
    assert report.speakers[0].characters.reference_length == 22


def test_worst_utterances_have_the_most_errors_and_no_perfect_one_is_among_them(
    report: ScoreReport,
) -> None:
    assert [item.id for item in report.worst] == ["u1", "u3", "u4"]


def test_at_most_ten_utterances_are_shown() -> None:
    references = [utterance(f"u{index}", "A B C") for index in range(12)]
    hypotheses = {f"u{index}": "A" if index == 11 else "A B" for index in range(12)}
    worst = score(references, hypotheses).worst
    assert [item.id for item in worst] == ["u11", *(f"u{index}" for index in range(9))]


def test_comparison_against_another_system(report: ScoreReport) -> None:
    assert report.comparison is not None
    assert report.comparison.other.errors == 2
    assert report.comparison.difference == pytest.approx(3 / 11)
    assert report.comparison.by_speaker is not None
    assert report.comparisons == (report.comparison,)
    alone = score(REFERENCES, HYPOTHESES)
    assert alone.comparison is None
    assert alone.comparisons == ()


def test_several_systems_are_compared_in_their_order_with_corrected_p_values() -> None:
    others = {"base": OTHER, "same": HYPOTHESES, "last": {**HYPOTHESES, "u2": ""}}
    report = score(REFERENCES, HYPOTHESES, against=others)
    assert [item.system for item in report.comparisons] == ["base", "same", "last"]
    assert report.comparison == report.comparisons[0]
    assert [item.difference for item in report.comparisons] == pytest.approx([3 / 11, 0, -3 / 11])
    # Drawing signs of a single difference, every sum is as far from 0: p is 1, corrected too.
    found = [item.by_utterance.matched_pairs_holm_p for item in report.comparisons]
    assert found == [1.0, 1.0, 1.0]
    assert to_text(report).count("(matched pairs, Holm over 3)") == 6
    assert len(json.loads(to_json(report))["comparisons"]) == 3


def test_text_shows_headline_table_and_alignment(report: ScoreReport) -> None:
    lines = to_text(report).splitlines()
    assert lines[0].startswith("WER 45.45 % [")
    assert "] (95 % by utterance, 4), [" in lines[0]
    assert lines[0].endswith("] (by speaker, 3); S/D/I 2/1/2")
    assert lines[1].startswith("CER 27.50 % [")
    assert lines[2].startswith("4 utterances, 0.04 h of audio; 11 words, 40 characters")
    assert lines[3].startswith("3 speakers are few")
    assert "Against base with WER 18.18 %: difference +27.27 points" in to_text(report)
    start = lines.index("u1, speaker ann: 3 errors in 6 words, S/D/I 1/1/1")
    assert lines[start + 1 : start + 4] == [
        "  REF:  THE CAT SAT ON THE MAT ***",
        "  HYP:  THE BAT SAT ** THE MAT NOW",
        "  EVAL:     S       D          I",
    ]
    rows = [line.split() for line in lines]
    assert ["bob", "2", "1.2", "3", "33.33", "22.22", "0/0/1"] in rows


def test_long_alignments_are_broken_into_lines_of_whole_words() -> None:
    text = " ".join(f"WORD{index}" for index in range(60))
    lines = to_text(score([utterance("u", text)], {"u": f"{text} MORE"})).splitlines()
    shown = [line for line in lines if line.startswith("  REF:")]
    assert len(shown) == 5
    assert max(map(len, lines[-15:])) <= 110
    assert " ".join(line.removeprefix("  REF:  ") for line in shown) == f"{text} ****"


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = to_text(score([utterance("u", "\u4f60\u597d A")], {"u": "B A"})).splitlines()
    assert "  REF:  \u4f60\u597d A" in lines
    assert "  HYP:  B    A" in lines


def test_a_perfect_score_has_no_interval_and_says_why() -> None:
    references = [utterance("u1", "A B"), utterance("u2", "C", "bob")]
    text = to_text(score(references, {"u1": "a, b", "u2": "c"}))
    assert text.startswith("WER 0.00 % no interval: the same in all (95 % by utterance, 2), ")
    assert "REF:" not in text


def test_words_for_silence_alone_have_no_rate() -> None:
    report = score([utterance("u1", ""), utterance("u2", "")], {"u1": "A", "u2": ""})
    assert report.words.counts.rate is None
    assert report.speakers[0].words.rate is None
    assert to_text(report).startswith("WER undefined % no interval: no reference text")
    assert json.loads(to_json(report))["words"]["counts"]["rate"] is None
    assert score([utterance("u1", "")], {"u1": ""}).words.counts.rate == 0.0


def test_without_speakers_there_is_neither_table_nor_interval() -> None:
    references = [utterance("u1", "A B"), utterance("u2", "C D", None)]
    other = {"u1": "A B", "u2": "C D"}
    report = score(references, {"u1": "A", "u2": "C D"}, against={"base": other})
    assert report.speakers == ()
    assert report.words.by_speaker.low is None
    assert "no speaker given for 1 utterances (by speaker, 0)" in to_text(report)
    assert report.comparison is not None
    assert report.comparison.by_speaker is None


def test_json_has_every_field_and_each_rate(report: ScoreReport) -> None:
    record = json.loads(to_json(report))
    assert record["words"]["counts"] == {
        "substitutions": 2,
        "deletions": 1,
        "insertions": 2,
        "reference_length": 11,
        "errors": 5,
        "rate": 5 / 11,
    }
    assert record["words"]["by_utterance"]["low"] == report.words.by_utterance.low
    assert record["words"]["by_utterance"]["reason"] is None
    assert record["speakers"][0]["characters"]["rate"] == report.speakers[0].characters.rate
    assert record["worst"][0]["alignment"][1] == {"reference": "CAT", "hypothesis": "BAT"}
    assert record["comparison"]["difference"] == pytest.approx(3 / 11)
    assert record["normaliser_version"] == 1
    assert record["missing"] == []


def test_the_report_repeats(report: ScoreReport) -> None:
    again = score(REFERENCES, dict(reversed(HYPOTHESES.items())), against={"base": OTHER})
    assert again == report


def test_missing_and_extra_hypotheses_are_named() -> None:
    with pytest.raises(ValueError, match="found none for 2: u1, u3; decode that manifest"):
        score(REFERENCES, {"u2": "A", "u4": "B"})
    with pytest.raises(ValueError, match="found some without reference, 1: zz; decode"):
        score(REFERENCES, {**HYPOTHESES, "zz": "A"})
    with pytest.raises(ValueError, match="none for 1: u1 and some without reference, 1: zz"):
        score(REFERENCES[:1], {"zz": "A"})
    many = [utterance(f"u{index}", "A") for index in range(12)]
    with pytest.raises(ValueError, match=r"12: u0, u1, .*, u9, \.\.\.; decode"):
        score(many, {})


def test_the_other_system_is_matched_too() -> None:
    with pytest.raises(ValueError, match=r"compare with \(base\) for the same 4 utterances"):
        score(REFERENCES, HYPOTHESES, against={"base": {"u1": "A"}})


def test_missing_as_deletions_counts_empty_hypotheses() -> None:
    missing: Missing = "deletions"
    report = score(REFERENCES[:2], {"u2": "A DOG RAN"}, missing=missing)
    assert (report.words.counts.deletions, report.words.counts.errors) == (6, 6)
    assert report.missing == ("u1",)
    assert "1 missing hypotheses counted as deletions" in to_text(report)
    with pytest.raises(ValueError, match="some without reference, 1: zz"):
        score(REFERENCES[:1], {"zz": "A"}, missing=missing)
    compared = score(REFERENCES, HYPOTHESES, against={"base": {"u2": "A"}}, missing=missing)
    assert compared.comparisons[0].missing == ("u1", "u3", "u4")
    assert "3 of its hypotheses are missing, counted as deletions" in to_text(compared)


def test_references_must_exist_and_have_transcripts() -> None:
    with pytest.raises(ValueError, match="expected utterances to score against, found none"):
        score([], {})
    with pytest.raises(ValueError, match="found none for 1: u2"):
        score([utterance("u1", "A"), utterance("u2", None)], {"u1": "A", "u2": "A"})
