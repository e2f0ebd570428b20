"""Rows of the comparison, and what is printed of them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "attune"
_COLUMNS = (
    "system",
    "audio s/s",
    "slowest .. fastest",
    "Attune's speed over it",
    "of matrix peak",
    "peak GiB",
    "beyond the model",
    "parameters",
)
_LIKE_OURS = 0.1
# Threads spin for a moment before they sleep; one that never sleeps takes several times a step.
_ASLEEP = 0.05


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run.

    Args:
        work: `training` or `inference`.
        width: Features of each encoder frame.
        kind: `float32` or `bfloat16`.
        batch: The batch in words.
        audio_seconds: Real audio in the batch.
        flops: Operations that one step needs.
    """

    work: str
    width: int
    kind: str
    batch: str
    audio_seconds: float
    flops: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of one system.

    Args:
        version: Of its package.
        audio_seconds_per_second: The median.
        slowest: The least.
        fastest: The most.
        peak_share: Needed operations a second as a share of `product_flops`.
        product_flops: Operations a second of the matrix product that took its turns beside it.
        parameters: Of the whole model.
        peak_bytes: Most memory of the process.
        step_bytes: The same less that when the model was loaded.
        idle_share: Processor time between steps as a share of a step.
        value: The last step's loss per label, or in inference its mean log-probability.
        threads: Of the process.
    """

    version: str
    audio_seconds_per_second: float
    slowest: float
    fastest: float
    peak_share: float
    product_flops: float
    parameters: int
    peak_bytes: int
    step_bytes: int
    idle_share: float
    value: float
    threads: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system in one case: figures, or why there are none."""

    case: Case
    system: str
    figures: Figures | None = None
    error: str | None = None


def summarise(
    case: Case,
    about: Mapping[str, Any],
    answers: Sequence[Mapping[str, Any]],
    *,
    product_flops: float,
) -> Figures:
    """Figures of one worker.

    Args:
        case: What it ran.
        about: Its first answer.
        answers: Those to its steps.
        product_flops: Operations a second of the matrix product beside it.
    """
    seconds = [answer["seconds"] for answer in answers]
    median = statistics.median(seconds)
    return Figures(
        version=about["version"],
        audio_seconds_per_second=case.audio_seconds / median,
        slowest=case.audio_seconds / max(seconds),
        fastest=case.audio_seconds / min(seconds),
        peak_share=case.flops / median / product_flops,
        product_flops=product_flops,
        parameters=about["parameters"],
        peak_bytes=answers[-1]["peak_bytes"],
        step_bytes=answers[-1]["peak_bytes"] - about["loaded_bytes"],
        idle_share=sum(answer["idle_cpu_seconds"] for answer in answers) / sum(seconds),
        value=answers[-1]["value"],
        threads=about["threads"],
    )


def title(case: Case, *, product_flops: float) -> str:
    """What a table of one case is of."""
    return (
        f"{case.work}, width {case.width}, {case.kind}, {case.batch}: "
        f"{case.flops / case.audio_seconds / 1e9:.2f} GFLOP for an audio second, "
        f"matrix product {product_flops / 1e9:.0f} GFLOP/s"
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown of the rows of one case: the fastest first, what failed last."""
    ours = _ours(rows)
    measured = [(row.system, row.figures) for row in rows if row.figures is not None]
    measured.sort(key=lambda each: -each[1].audio_seconds_per_second)
    lines = ["| " + " | ".join(_COLUMNS) + " |", "| --- " * len(_COLUMNS) + "|"]
    lines += [_line(system, figures, ours) for system, figures in measured]
    lines += [
        f"| {row.system} | {row.error} |" + " |" * (len(_COLUMNS) - 2)
        for row in rows
        if row.error is not None
    ]
    return "\n".join(lines)


def doubts(rows: Sequence[Row]) -> list[str]:
    """Why rows of one case may be unfair or wrong, one line each."""
    ours = _ours(rows)
    lines = []
    for row in rows:
        if row.figures is None:
            continue
        if not math.isfinite(row.figures.value):
            lines.append(f"{row.system}: expected a finite result, found {row.figures.value}")
        if row.figures.idle_share > _ASLEEP:
            lines.append(
                f"{row.system}: expected it to sleep between steps, found "
                f"{row.figures.idle_share:.1%} of a step's time; set OMP_WAIT_POLICY=passive"
            )
        if ours and abs(row.figures.parameters / ours.parameters - 1) > _LIKE_OURS:
            lines.append(
                f"{row.system}: expected Attune's {ours.parameters} parameters within "
                f"{_LIKE_OURS:.0%}, found {row.figures.parameters}"
            )
    return lines


def _ours(rows: Sequence[Row]) -> Figures | None:
    return next((row.figures for row in rows if row.system == OURS), None)


def _line(system: str, figures: Figures, ours: Figures | None) -> str:
    speed = figures.audio_seconds_per_second
    faster = f"{ours.audio_seconds_per_second / speed:.2f} x" if ours else ""
    cells = (
        f"{system} {figures.version}",
        f"{speed:.1f}",
        f"{figures.slowest:.1f} .. {figures.fastest:.1f}",
        faster,
        f"{100 * figures.peak_share:.1f} %",
        f"{figures.peak_bytes / 2**30:.2f}",
        f"{figures.step_bytes / 2**30:.2f}",
        f"{figures.parameters / 1e6:.2f} M",
    )
    return "| " + " | ".join(cells) + " |"
