"""`asr decode --streaming`: recordings as if they came live."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from asr.inference.audio_input import AudioInput
    from asr.recognizer import Recognizer
    from asr.transcripts.hypothesis import Outcome


def check_streaming_options(
    *, streaming: bool, long: str, chunk_seconds: float | None, left_seconds: float | None
) -> None:
    """Check that options of streaming come together.

    Raises:
        typer.BadParameter: They do not.
    """
    if streaming and long != "windows":
        raise typer.BadParameter("--long has no use with --streaming, which takes any length")
    if streaming != (chunk_seconds is not None):
        raise typer.BadParameter("--streaming and --chunk-seconds need each other")
    if left_seconds is not None and not streaming:
        raise typer.BadParameter("--left-seconds needs --streaming")


def streamed_outcomes(
    recognizer: Recognizer,
    inputs: Sequence[AudioInput],
    *,
    chunk_seconds: float,
    left_seconds: float | None,
) -> Iterator[Outcome]:
    """Decode recordings as streams and report spans and latency on standard error.

    Args:
        recognizer: The recogniser.
        inputs: The recordings.
        chunk_seconds: Length of a chunk.
        left_seconds: What frames may attend to before their chunk; None is all.

    Yields:
        What became of each input, in order.

    Raises:
        ValueError: The model cannot stream.
    """
    from asr.inference.streaming import ComputeTimes, stream_outcomes

    open_stream = partial(recognizer.stream, chunk_seconds=chunk_seconds, left_seconds=left_seconds)
    stream = open_stream()
    left = "all" if stream.left_seconds is None else f"{stream.left_seconds:.3f} s"
    print(
        f"streaming: chunks of {stream.chunk_seconds:.3f} s, left context {left}", file=sys.stderr
    )
    times = ComputeTimes()
    yield from stream_outcomes(open_stream, inputs, times=times)
    print(
        f"latency: chunk {stream.chunk_seconds:.3f} s + look-ahead {stream.lookahead_seconds:.3f} s"
        f" + compute {times.quantile(0.5):.4f} s (95th percentile {times.quantile(0.95):.4f} s)",
        file=sys.stderr,
    )
