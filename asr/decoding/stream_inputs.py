"""Recordings decoded as streams, and how long their chunks take."""

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from asr.decoding.audio_input import AudioInput, read_input_blocks
from asr.decoding.streaming import RecognitionStream
from asr.transcripts.hypothesis import Outcome


class ComputeTimes:
    """Time that chunks take to compute, in seconds."""

    def __init__(self) -> None:
        self._seconds = array("f")

    @contextmanager
    def of_chunks(self, stream: RecognitionStream) -> Iterator[None]:
        """Count the time of this context if the stream computes a chunk in it."""
        computed, started = stream.chunks, time.perf_counter()
        yield
        if stream.chunks > computed:
            self.add(time.perf_counter() - started)

    def add(self, seconds: float) -> None:
        """Count one chunk."""
        self._seconds.append(seconds)

    def quantile(self, share: float) -> float:
        """The time that this share of the chunks takes at most; NaN where there is no chunk."""
        if not self._seconds:
            return float("nan")
        return float(np.quantile(np.asarray(self._seconds), share))


def stream_outcomes(
    open_stream: Callable[[], RecognitionStream],
    inputs: Sequence[AudioInput],
    *,
    times: ComputeTimes,
) -> Iterator[Outcome]:
    """Decode recordings as streams, one after another, each failing for itself.

    Args:
        open_stream: Begins a stream.
        inputs: Files, stretches of files, or pairs of samples and rate.
        times: Where the time of each chunk is counted, its text included and reading not.

    Yields:
        What became of each input, in order.
    """
    for index, item in enumerate(inputs):
        stream = open_stream()
        rate_hz = stream.acoustic_model.sample_rate_hz
        # As a stream would bring them, so that no call computes more than one chunk.
        part_samples = round(stream.chunk_seconds * rate_hz)
        try:
            for block in read_input_blocks(item, sample_rate_hz=rate_hz):
                for part in torch.split(block, part_samples):
                    with times.of_chunks(stream):
                        stream.accept(part, rate_hz)
            with times.of_chunks(stream):
                hypothesis = stream.finish()
        except (OSError, ValueError) as error:
            yield Outcome(index=index, error=error)
        else:
            yield Outcome(index=index, hypothesis=hypothesis)
