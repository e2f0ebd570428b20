"""WebVTT, the subtitles of web pages."""

from html import escape

from asr.transcripts.formats.cues import cues
from asr.transcripts.formats.times import clock
from asr.transcripts.hypothesis import Hypothesis


def vtt(hypothesis: Hypothesis) -> str:
    """The file's text; a header alone for an empty transcript.

    Raises:
        FormatError: There are more words than milliseconds of audio.

    Source: W3C, "WebVTT: The Web Video Text Tracks Format", section 4.
    """
    blocks = ["WEBVTT\n"]
    for cue in cues(hypothesis):
        start, end = (
            clock(milliseconds, point=".")
            for milliseconds in (cue.start_milliseconds, cue.end_milliseconds)
        )
        lines = [escape(line, quote=False) for line in cue.lines]
        blocks.append("\n".join([f"{start} --> {end}", *lines, ""]))
    return "\n".join(blocks)
