"""Word error rate, latency and speed of streaming against chunk and left context.

    python -m tools.bench_streaming EXP MANIFEST [--chunk-seconds S ...] [--left-seconds L ...]

The error rate is that of one pass under the mask of chunks, which streams equal; its interval is
the 95 % bootstrap over utterances. Latency and real-time factor are measured on streams, one after
another, of the first --seconds of the manifest: a word is known at the latest one chunk, the
look-ahead and the time to compute a chunk (95th percentile) after it was spoken. The time to read
files does not count.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from asr.data.manifest import Utterance, read_manifest
from asr.inference.audio_input import read_input
from asr.inference.long_recordings import LongformConfig
from asr.inference.streaming import ComputeTimes, stream_outcomes
from asr.recognizer import Recognizer, load
from asr.scoring.counts import count_errors_batch, pool
from asr.scoring.intervals import rate_interval

_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What streams of one mode take.

    Args:
        lookahead_seconds: Audio after a chunk that it waits for.
        median_seconds: Time to compute a chunk.
        most_seconds: The same, 95th percentile.
        real_time_factor: Time to compute as a share of the audio.
    """

    lookahead_seconds: float
    median_seconds: float
    most_seconds: float
    real_time_factor: float


def main() -> None:
    """Measure and print one row a mode, the offline one first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--chunk-seconds", type=float, nargs="+", default=[0.32, 0.64, 1.28])
    parser.add_argument("--left-seconds", nargs="+", default=["2.56", "5.12", _ALL])
    parser.add_argument("--seconds", type=float, default=120.0, help="audio to measure speed on")
    args = parser.parse_args()
    recognizer = load(args.exp, device="cpu")
    references = [item for item in read_manifest(args.manifest) if item.text is not None]
    print("chunk s  left s  WER % (95 % interval)  latency s: chunk + ahead + compute  x real time")
    print(f"{'offline':>7}  {_ALL:>6}  {error_rate(recognizer, references)}", flush=True)
    for chunk_seconds, left in product(args.chunk_seconds, args.left_seconds):
        left_seconds = None if left == _ALL else float(left)
        try:
            stream = recognizer.stream(chunk_seconds=chunk_seconds, left_seconds=left_seconds)
        except ValueError as error:
            print(f"{chunk_seconds:7.2f}  {left:>6}  {error}", flush=True)
            continue
        masked = Recognizer(stream.acoustic_model, recognizer.tokenizer, decoder=recognizer.decoder)
        speed = measure_speed(
            recognizer,
            references,
            chunk_seconds=chunk_seconds,
            left_seconds=left_seconds,
            seconds=args.seconds,
        )
        latency = stream.chunk_seconds + speed.lookahead_seconds + speed.most_seconds
        shown = _ALL if stream.left_seconds is None else f"{stream.left_seconds:.2f}"
        print(
            f"{stream.chunk_seconds:7.2f}  {shown:>6}  {error_rate(masked, references):21}  "
            f"{latency:.3f}: {stream.chunk_seconds:.2f} + {speed.lookahead_seconds:.3f} + "
            f"{speed.median_seconds:.4f} ({speed.most_seconds:.4f})  {speed.real_time_factor:.4f}",
            flush=True,
        )


def error_rate(recognizer: Recognizer, references: Sequence[Utterance]) -> str:
    """Pooled word error rate in percent and its interval, in one pass over each utterance."""
    longest = max(item.duration_seconds for item in references)
    one_pass = Recognizer(
        recognizer.acoustic_model,
        recognizer.tokenizer,
        decoder=recognizer.decoder,
        longform=LongformConfig(limit_seconds=max(longest, 40.0)),
    )
    said = [item.text or "" for item in references]
    heard = [hypothesis.text for hypothesis in one_pass.transcribe(list(references))]
    counts = count_errors_batch(said, heard, unit="word")
    total, interval = pool(counts), rate_interval(counts)
    rate = 100 * total.errors / total.reference_length
    if interval.low is None or interval.high is None:
        return f"{rate:.2f} ({interval.reason})"
    return f"{rate:.2f} ({100 * interval.low:.2f} .. {100 * interval.high:.2f})"


def measure_speed(
    recognizer: Recognizer,
    references: Sequence[Utterance],
    *,
    chunk_seconds: float,
    left_seconds: float | None,
    seconds: float,
) -> Speed:
    """Stream the first so many seconds, after one utterance to warm up."""
    open_stream = partial(recognizer.stream, chunk_seconds=chunk_seconds, left_seconds=left_seconds)
    rate_hz = recognizer.acoustic_model.sample_rate_hz
    audio, total = [], 0.0
    for item in references:
        if total >= seconds:
            break
        audio.append((read_input(item, sample_rate_hz=rate_hz), rate_hz))
        total += item.duration_seconds
    list(stream_outcomes(open_stream, audio[:1], times=ComputeTimes()))
    times, started = ComputeTimes(), time.process_time()
    list(stream_outcomes(open_stream, audio, times=times))
    return Speed(
        lookahead_seconds=open_stream().lookahead_seconds,
        median_seconds=times.quantile(0.5),
        most_seconds=times.quantile(0.95),
        real_time_factor=(time.process_time() - started) / total,
    )


if __name__ == "__main__":
    main()
