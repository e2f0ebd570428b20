"""`asr attention`: what each mechanism can do."""

from collections.abc import Sequence
from typing import Annotated

import typer

_HEADER = (
    "word", "offline", "causal", "chunked", "exact", "positions", "feed-forward", "longest", "time",
    "memory",
)  # fmt: skip
_NOTES = """
exact: equals the naive softmax over its own keys. positions: what scores know; with none the
encoder adds sinusoids to its input. feed-forward: whether blocks keep these modules. longest: input
in encoder frames. time, memory: growth with T frames; w window, m features, k slots, c bucket.
A setting can change a row: `model.attention.window_frames`, for one, turns T^2 into T w.
"""


def attention(
    words: Annotated[
        bool, typer.Option("--words", help="Print the words alone, one a line, for scripts.")
    ] = False,
) -> None:
    """Print the attention mechanisms and what each can do, with its default settings."""
    from asr.model.attention import ATTENTION, build_attentions

    if words:
        print(*ATTENTION, sep="\n")
        return
    rows: list[Sequence[str]] = [_HEADER]
    for word, entry in ATTENTION.items():
        (built,) = build_attentions(entry.config(kind=word), width=32, heads=4, dropout=0, layers=1)
        can = built.capabilities
        rows.append(
            (
                word,
                *("yes" if mode in can.modes else "no" for mode in _HEADER[1:4]),
                "yes" if can.exact else "no",
                can.positions,
                "replaced" if can.replaces_feed_forward else "kept",
                "any" if can.max_length is None else str(can.max_length),
                can.time,
                can.memory,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    for row in rows:
        print(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print(_NOTES, end="")
