"""Transcripts on a stream: the order of the inputs, and nothing made is lost."""

import io

import pytest

from asr.transcripts.formats import open_stream_writer
from asr.transcripts.hypothesis import Hypothesis, Word
from asr.transcripts.hypothesis_file import FormatError, HypothesisRecord

IDS = ["a", "b", "c", "d"]


def record(name: str, text: str) -> HypothesisRecord:
    words = tuple(
        Word(word=word, start_seconds=0.1, end_seconds=0.2, confidence=1.0) for word in text.split()
    )
    return HypothesisRecord(
        id=name, hypothesis=Hypothesis.of_words(words, score=0.0, duration_seconds=1.0)
    )


def test_each_is_written_once_all_before_it_are() -> None:
    stream = io.StringIO()
    with open_stream_writer(stream, None, ids=IDS) as writer:
        seen = []
        for name, text in (("c", "three"), ("a", "one"), ("b", ""), ("d", "four")):
            writer.append(record(name, text))
            seen.append(stream.getvalue())
        writer.finish(IDS)
    assert seen == ["", "one\n", "one\n\nthree\n", "one\n\nthree\nfour\n"]
    assert stream.getvalue() == seen[-1]


@pytest.mark.parametrize(("name", "expected"), [(None, "\nx\n"), ("txt", "b\tx\n")])
def test_input_without_a_transcript(name: str | None, expected: str) -> None:
    stream = io.StringIO()
    with open_stream_writer(stream, name, ids=["a", "b"]) as writer:
        writer.append(record("b", "x"))
        assert stream.getvalue() == ""
        writer.leave_out("a")
    assert stream.getvalue() == expected


def stop(stream: io.StringIO, error: BaseException) -> None:
    """Write the third transcript of four, then stop."""
    with open_stream_writer(stream, None, ids=IDS) as writer:
        writer.append(record("c", "three"))
        raise error


def test_what_waits_is_written_at_an_interruption() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        stop(stream, KeyboardInterrupt())
    assert stream.getvalue() == "\n\nthree\n"


def test_a_broken_stream_is_not_tried_again() -> None:
    stream = io.StringIO()
    with pytest.raises(BrokenPipeError):
        stop(stream, BrokenPipeError())
    assert stream.getvalue() == ""


def test_what_the_format_refuses_is_not_written() -> None:
    stream = io.StringIO()
    with open_stream_writer(stream, "srt", ids=["a"]) as writer:
        words = (Word(word="x", start_seconds=0.0, end_seconds=0.0, confidence=1.0),)
        short = Hypothesis.of_words(words, score=0.0, duration_seconds=0.0)
        with pytest.raises(FormatError, match="at least a millisecond a word"):
            writer.append(HypothesisRecord(id="a", hypothesis=short))
        writer.leave_out("a")
    assert stream.getvalue() == ""


def test_files_of_several_recordings_are_no_stream() -> None:
    with pytest.raises(ValueError, match="expected one recording for a stream of vtt, found 4"):
        open_stream_writer(io.StringIO(), "vtt", ids=IDS)
