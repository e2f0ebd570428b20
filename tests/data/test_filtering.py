import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from asr.data.filtering import TrainingUtterances, filter_utterances
from asr.data.manifest import Utterance

ALPHABET = set("ab ")


def utterance(name: str, seconds: float, text: str | None) -> Utterance:
    return Utterance(id=name, audio_filepath=Path("x.flac"), duration_seconds=seconds, text=text)


def run(utterances: Sequence[Utterance]) -> TrainingUtterances:
    return filter_utterances(
        utterances,
        min_seconds=0.5,
        max_seconds=4.0,
        encode=lambda text: [1 + "ab ".index(character) for character in text],
        fits=lambda seconds, labels: len(labels) <= 2 * seconds,
        unknown_characters=lambda text: set(text) - ALPHABET,
    )


MIXED = [
    utterance("good", 2.0, "ab"),
    utterance("untold", 2.0, None),
    utterance("clip", 0.4, "a"),
    utterance("lecture", 4.1, "a"),
    utterance("fast", 1.0, "aba"),
    utterance("silence", 1.0, ""),
    utterance("brief", 0.5, "a"),
    utterance("longest", 4.0, "b"),
    utterance("faster", 1.5, "abab"),
]


def test_each_reason_is_counted_and_the_rest_kept_in_order() -> None:
    result = run(MIXED)
    assert [each.id for each in result.utterances] == ["good", "silence", "brief", "longest"]
    report = result.report
    assert (report.total, report.kept, report.kept_seconds) == (9, 4, 7.5)
    assert report.without_text == ("untold",)
    assert report.too_short == ("clip",)
    assert report.too_long == ("lecture",)
    assert report.too_short_for_transcript == ("fast", "faster")
    assert report.empty_transcript == ("silence",)


def test_counts_are_logged_and_ids_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="asr.data.filtering"):
        run(MIXED)
    lines = dict.fromkeys(("INFO", "WARNING", "DEBUG"), "")
    for record in caplog.records:
        lines[record.levelname] += record.getMessage() + "\n"
    assert "4 of 9 utterances" in lines["INFO"]
    assert "left out 2 utterances: too short for transcript" in lines["WARNING"]
    assert "kept 1 utterances: empty transcript" in lines["WARNING"]
    assert "faster" not in lines["WARNING"]
    assert "too short for transcript: fast, faster" in lines["DEBUG"]


def test_unknown_characters_are_an_error_that_names_them() -> None:
    with pytest.raises(ValueError, match="found 'c' 'é' in second, third; train the tokenizer"):
        run(
            [
                utterance("first", 1.0, "a"),
                utterance("second", 1.0, "cé"),
                utterance("third", 1.0, "é"),
            ]
        )


def test_unknown_characters_in_many_utterances_are_named_in_part() -> None:
    with pytest.raises(ValueError, match="in u0, u1, u2, u3, u4 and 3 more;"):
        run([utterance(f"u{number}", 1.0, "c") for number in range(8)])


def test_unknown_characters_do_not_matter_where_left_out_anyway() -> None:
    result = run([utterance("good", 1.0, "a"), utterance("lecture", 9.0, "c")])
    assert result.report.too_long == ("lecture",)


def test_nothing_left_is_an_error_with_the_counts() -> None:
    with pytest.raises(ValueError, match=r"none of 2 usable \(without_text 1, too_short 1, "):
        run([utterance("untold", 1.0, None), utterance("clip", 0.1, "a")])
