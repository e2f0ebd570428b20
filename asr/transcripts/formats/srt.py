"""SRT, SubRip's subtitles: numbered cues."""

from asr.transcripts.formats.cues import cues
from asr.transcripts.formats.times import clock
from asr.transcripts.hypothesis import Hypothesis


def srt(hypothesis: Hypothesis) -> str:
    """The file's text; empty for an empty transcript.

    Raises:
        FormatError: There are more words than milliseconds of audio.
    """
    blocks = []
    for number, cue in enumerate(cues(hypothesis), start=1):
        start, end = (
            clock(milliseconds, point=",")
            for milliseconds in (cue.start_milliseconds, cue.end_milliseconds)
        )
        blocks.append("\n".join([str(number), f"{start} --> {end}", *cue.lines, ""]))
    return "\n".join(blocks)
