import io
from collections.abc import Sequence
from itertools import pairwise

import pysubs2
import pytest
import webvtt

from asr.transcripts.formats.cues import Cue, cues
from asr.transcripts.formats.srt import srt
from asr.transcripts.formats.times import clock
from asr.transcripts.formats.vtt import vtt
from asr.transcripts.hypothesis import Hypothesis, Word

Timed = tuple[str, float, float]


def spoken(*words: Timed, duration: float = 1000.0) -> Hypothesis:
    return Hypothesis.of_words(
        tuple(
            Word(word=word, start_seconds=start, end_seconds=end, confidence=0.5)
            for word, start, end in words
        ),
        score=-1.0,
        duration_seconds=duration,
    )


def steady(texts: Sequence[str], *, each: float = 0.4, start: float = 0.0) -> list[Timed]:
    """Words one after another without pauses."""
    return [
        (text, start + each * place, start + each * (place + 1)) for place, text in enumerate(texts)
    ]


def shown(found: Sequence[Cue]) -> list[tuple[int, int, tuple[str, ...]]]:
    return [(cue.start_milliseconds, cue.end_milliseconds, cue.lines) for cue in found]


LONG = spoken(
    *steady(["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN"] * 40),
    *steady(["LATER", "MORE"] * 30, start=120.0, each=0.2),
)


def test_a_pause_of_a_second_ends_a_cue() -> None:
    found = cues(spoken(("A", 0.0, 0.5), ("B", 1.49, 2.0), ("C", 3.0, 5.0)))
    assert shown(found) == [(0, 2000, ("A B",)), (3000, 5000, ("C",))]


def test_a_short_cue_stays_for_a_second_where_there_is_time() -> None:
    found = cues(spoken(("A", 0.0, 0.2), ("B", 1.3, 1.4), ("C", 2.1, 5.0)))
    assert shown(found) == [(0, 1000, ("A",)), (1300, 5000, ("B C",))]
    [last] = cues(spoken(("A", 1.0, 1.1), duration=1.5))
    assert (last.start_milliseconds, last.end_milliseconds) == (1000, 1500)


def test_no_cue_lasts_beyond_seven_seconds() -> None:
    [cue] = cues(spoken(("A", 1.0, 12.0)))
    assert (cue.start_milliseconds, cue.end_milliseconds) == (1000, 8000)


def test_two_lines_are_of_similar_length() -> None:
    words = steady(["ABCDEFGHI"] * 5)
    [cue] = cues(spoken(*words))
    assert cue.lines == ("ABCDEFGHI ABCDEFGHI", "ABCDEFGHI ABCDEFGHI ABCDEFGHI")


def test_a_line_of_42_characters_is_one_line() -> None:
    [cue] = cues(spoken(("A" * 20, 0.0, 1.0), ("B" * 21, 1.0, 2.0)))
    assert cue.lines == ("A" * 20 + " " + "B" * 21,)
    [cue] = cues(spoken(("A" * 20, 0.0, 1.0), ("B" * 22, 1.0, 2.0)))
    assert cue.lines == ("A" * 20, "B" * 22)


def test_what_is_too_long_is_cut_at_its_longest_pause() -> None:
    words = [*steady(["ABCDEFGHI"] * 4), *steady(["ABCDEFGHI"] * 8, start=2.0)]
    found = cues(spoken(*words))
    assert [cue.start_milliseconds for cue in found] == [0, 2000]


def test_without_pauses_it_is_cut_in_its_middle() -> None:
    found = cues(spoken(*steady(["ABCDEFGHI"] * 10)))
    assert shown(found) == [
        (0, 2000, ("ABCDEFGHI ABCDEFGHI", "ABCDEFGHI ABCDEFGHI ABCDEFGHI")),
        (2000, 4000, ("ABCDEFGHI ABCDEFGHI", "ABCDEFGHI ABCDEFGHI ABCDEFGHI")),
    ]


def test_a_pause_leaves_no_cue_shorter_than_a_second() -> None:
    words = [("ABCDEFGHI", 0.0, 0.3), *steady(["ABCDEFGHI"] * 9, start=0.6)]
    assert [cue.start_milliseconds for cue in cues(spoken(*words))][1] > 1000


def test_a_word_longer_than_a_line_goes_on_in_the_next() -> None:
    found = cues(spoken(("A" * 42 + "B" * 42 + "C" * 21, 0.0, 5.0)))
    assert "".join(line for cue in found for line in cue.lines).replace(" ", "") == (
        "A" * 42 + "B" * 42 + "C" * 21
    )
    assert all(len(line) <= 42 for cue in found for line in cue.lines)
    assert found[-1].end_milliseconds == 5000


def test_words_without_length() -> None:
    found = cues(spoken(("A" * 40, 1.0, 1.0), ("B" * 40, 1.0, 1.0), ("C" * 40, 1.0, 1.0)))
    assert [cue.start_milliseconds for cue in found] == sorted(
        {cue.start_milliseconds for cue in found}
    )
    assert all(cue.start_milliseconds < cue.end_milliseconds for cue in found)


def test_more_words_than_milliseconds() -> None:
    with pytest.raises(ValueError, match="found 3 words in 2 ms"):
        cues(spoken(*[("A", 0.0, 0.0)] * 3, duration=0.002))


def test_the_rules_hold_over_a_long_recording() -> None:
    found = cues(LONG)
    assert " ".join(line for cue in found for line in cue.lines) == LONG.text
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= 42 for line in cue.lines)
        assert 1000 <= cue.end_milliseconds - cue.start_milliseconds <= 7000
    for cue, later in pairwise(found):
        assert cue.end_milliseconds <= later.start_milliseconds


def test_srt_is_read_by_pysubs2() -> None:
    read = pysubs2.SSAFile.from_string(srt(LONG), format_="srt")
    assert [(event.start, event.end, tuple(event.plaintext.split("\n"))) for event in read] == (
        shown(cues(LONG))
    )


def test_vtt_is_read_by_webvtt() -> None:
    read = webvtt.from_string(vtt(LONG)).captions
    expected = cues(LONG)
    assert [tuple(caption.lines) for caption in read] == [cue.lines for cue in expected]
    assert [(caption.start, caption.end) for caption in read] == [
        (clock(cue.start_milliseconds, point="."), clock(cue.end_milliseconds, point="."))
        for cue in expected
    ]


def test_letters_of_every_script() -> None:
    text = "ÄRGER ЖЁЛТЫЙ 日本語 O'CLOCK"
    hypothesis = spoken(*steady(text.split()))
    assert pysubs2.SSAFile.from_string(srt(hypothesis), format_="srt")[0].plaintext == text
    assert webvtt.from_string(vtt(hypothesis))[0].text == text


def test_vtt_escapes_what_would_be_a_tag() -> None:
    text = vtt(spoken(("<B>", 0.0, 1.0), ("R&D", 1.0, 2.0), ("-->", 2.0, 3.0)))
    assert text.endswith("\n&lt;B&gt; R&amp;D --&gt;\n")
    [cue] = pysubs2.SSAFile.from_string(text, format_="vtt")
    assert (cue.start, cue.end) == (0, 3000)


def test_an_empty_transcript_is_a_valid_file() -> None:
    assert srt(spoken()) == ""
    assert vtt(spoken()) == "WEBVTT\n"
    assert len(webvtt.from_buffer(io.StringIO(vtt(spoken())))) == 0


def test_clock() -> None:
    assert clock(3_723_004, point=",") == "01:02:03,004"
    assert clock(360_000_000, point=".") == "100:00:00.000"
