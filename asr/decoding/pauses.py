"""Where a long recording may be cut without cutting a word."""

from itertools import groupby

from torch import Tensor

from asr.ctc import BLANK


def longest_pause(log_probs: Tensor) -> int:
    """Find where to cut a stretch: in the middle of the longest pause of its second half.

    A pause is a run of frames whose best label is blank.

    Args:
        log_probs: (time, vocab), label 0 the blank; one frame or more.

    Returns:
        Frames before the cut, 1 or more; all where there is no pause.
    """
    is_blank = (log_probs.argmax(dim=1) == BLANK).tolist()
    second_half = range((len(is_blank) + 1) // 2, len(is_blank))
    pauses = [list(frames) for blank, frames in groupby(second_half, is_blank.__getitem__) if blank]
    pause = max(pauses, key=len, default=[len(is_blank)])
    return pause[len(pause) // 2]
