"""CTM, NIST's time-marked words: recording, channel, start, duration, word, confidence."""

from pathlib import Path

from asr.transcripts.formats.times import timed_words
from asr.transcripts.hypothesis_file import HypothesisRecord

_CHANNEL = 1


def ctm_lines(record: HypothesisRecord, folder: Path) -> str:
    """One line a word, times in seconds; none for an empty transcript.

    Source: NIST, sclite's documentation, "ctm" format of hypothesis files.
    """
    lines = []
    words = zip(timed_words(record.hypothesis), record.hypothesis.words, strict=True)
    for timed, word in words:
        start = timed.start_milliseconds / 1000
        duration = (timed.end_milliseconds - timed.start_milliseconds) / 1000
        lines.append(
            f"{record.id} {_CHANNEL} {start:.3f} {duration:.3f} {word.word} {word.confidence:.4f}"
        )
    return "\n".join(lines)


def check_ctm_id(record_id: str) -> None:
    """Refuse an id that is not one column.

    Raises:
        ValueError: The id has blanks, is empty, or begins a comment.
    """
    if record_id.startswith(";;"):
        raise ValueError(
            f"expected ids that do not begin with ;;, as comments of ctm do, found {record_id!r}; "
            "give the recording another name or write jsonl"
        )
    if record_id.split() != [record_id]:
        raise ValueError(
            f"expected ids without blanks, as columns of ctm are, found {record_id!r}; give the "
            "recording another name or write jsonl"
        )
