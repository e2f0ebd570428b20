"""Transcripts of a run: written as they are made, failures named, the speed reported."""

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from asr.transcripts.formats import Writer
from asr.transcripts.formats.stream_writer import StreamWriter
from asr.transcripts.hypothesis import Outcome
from asr.transcripts.hypothesis_file import FormatError, HypothesisRecord

FormatName: TypeAlias = Literal["jsonl", "txt", "ctm", "srt", "vtt", "textgrid"]
FORMAT_HELP = (
    "jsonl: with scores and word times; txt: id, tab, words on each line; ctm: NIST's words with "
    "times. These are one file. srt, vtt (subtitles), textgrid (Praat): --out is a folder, with a "
    "file for each recording."
)


def write_outcomes(
    outcomes: Iterable[Outcome], sources: Mapping[str, Path], writer: Writer, *, done: str
) -> None:
    """Write hypotheses in the order of the inputs, name what failed and print the speed.

    Args:
        outcomes: What became of each input, in any order.
        sources: Audio files by id, in the order of the inputs.
        writer: Where the hypotheses go.
        done: What is done to an input, as a participle.

    Raises:
        typer.Exit: Something failed; everything else is written.
    """
    ids = list(sources)
    written = failures = 0
    audio_seconds = 0.0
    started = time.monotonic()
    # A bar would stand among the lines of the transcripts.
    hidden = isinstance(writer, StreamWriter) and sys.stdout.isatty()
    with _progress(done, hidden=hidden) as progress:
        task = progress.add_task("", total=len(ids), audio=0.0)
        try:
            for outcome in outcomes:
                name = ids[outcome.index]
                error = _write(outcome, name, sources[name], writer)
                if error is not None:
                    failures += 1
                    print(f"error: {name}: {error}", file=sys.stderr)
                    writer.leave_out(name)
                else:
                    assert outcome.hypothesis is not None
                    written += 1
                    audio_seconds += outcome.hypothesis.duration_seconds
                progress.update(task, advance=1, audio=audio_seconds)
            if written or not failures:
                # Otherwise nothing is there to take the place of an older result.
                writer.finish(ids)
        except BaseException:
            if written:
                print(
                    f"stopped: {written} of {len(ids)} inputs are {done}, "
                    f"{writer.unfinished_place}",
                    file=sys.stderr,
                )
            raise
    seconds = time.monotonic() - started
    factor = f"{seconds / audio_seconds:.4f}" if audio_seconds else "undefined"
    print(
        f"{done} {written} of {len(ids)} inputs: {audio_seconds:.1f} s of audio in "
        f"{seconds:.1f} s, real-time factor {factor}",
        file=sys.stderr,
    )
    if failures:
        others = f"the others are {writer.place}" if written else "nothing is written"
        print(
            f"error: expected {len(ids)} inputs to be {done}, found {failures} that cannot be "
            f"{done}, named above; {others}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _write(outcome: Outcome, name: str, source: Path, writer: Writer) -> Exception | None:
    """Write what became of an input; why it cannot be, or None."""
    if outcome.hypothesis is None:
        return outcome.error
    try:
        writer.append(
            HypothesisRecord(id=name, audio_filepath=source, hypothesis=outcome.hypothesis)
        )
    except FormatError as error:
        return error
    return None


def _progress(done: str, *, hidden: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn(done),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}, {task.fields[audio]:.0f} s of audio"),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        redirect_stdout=False,
    )
