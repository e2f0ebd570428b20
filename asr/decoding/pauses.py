"""Where a long recording may be cut without cutting a word."""

from collections.abc import Iterator
from itertools import groupby

from torch import Tensor

from asr.model.ctc import BLANK


def cut_at_pauses(log_probs: Tensor, longest_frames: int) -> Iterator[slice]:
    """Cut a recording into stretches, each in the middle of the longest pause of its second half.

    A pause is a run of frames whose best label is blank. Where there is none, the cut is at the
    longest stretch allowed, within a word.

    Args:
        log_probs: (time, vocab), label 0 the blank.
        longest_frames: Most frames of a stretch, 1 or more.

    Yields:
        Consecutive stretches that together are the recording; one alone when it is short enough.
    """
    is_blank = (log_probs.argmax(dim=1) == BLANK).tolist()
    start = 0
    while len(is_blank) - start > longest_frames:
        stop = start + longest_frames
        second_half = range(start + (longest_frames + 1) // 2, stop)
        pauses = [
            list(frames) for blank, frames in groupby(second_half, is_blank.__getitem__) if blank
        ]
        pause = max(pauses, key=len, default=[stop])
        cut = pause[len(pause) // 2]
        yield slice(start, cut)
        start = cut
    yield slice(start, len(is_blank))
