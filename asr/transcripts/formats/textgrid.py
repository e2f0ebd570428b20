"""TextGrid, Praat's annotations: a tier of words whose gaps are empty intervals."""

from asr.transcripts.formats.times import last_millisecond, never_empty, timed_words
from asr.transcripts.hypothesis import Hypothesis

_TIER = "words"


def textgrid(hypothesis: Hypothesis) -> str:
    """The file's text, in Praat's long format.

    Raises:
        FormatError: There are more words than milliseconds of audio.

    Source: Praat manual, "TextGrid file formats".
    """
    intervals = _intervals(hypothesis)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {hypothesis.duration_seconds:.6f}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        f'        name = "{_TIER}"',
        "        xmin = 0",
        f"        xmax = {hypothesis.duration_seconds:.6f}",
        f"        intervals: size = {len(intervals)}",
    ]
    for number, (start, end, text) in enumerate(intervals, start=1):
        # A quotation mark within a text is doubled.
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start}",
            f"            xmax = {end}",
            f'            text = "{quoted}"',
        ]
    return "\n".join(lines) + "\n"


def _intervals(hypothesis: Hypothesis) -> list[tuple[str, str, str]]:
    """Start and end in seconds, as written, and text; without gaps, together the whole audio."""
    last = last_millisecond(hypothesis)
    words = never_empty(timed_words(hypothesis), last_milliseconds=last)
    intervals = []
    reached = f"{0:.6f}"
    for word in words:
        start = f"{word.start_milliseconds / 1000:.6f}"
        end = f"{word.end_milliseconds / 1000:.6f}"
        if start != reached:
            intervals.append((reached, start, ""))
        intervals.append((start, end, word.text))
        reached = end
    end = f"{hypothesis.duration_seconds:.6f}"
    if reached != end:
        intervals.append((reached, end, ""))
    return intervals
