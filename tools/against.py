"""Paired comparison of two checkouts: the ratio of their speeds with its 95 % interval.

Both checkouts are measured in turn (this one, the other, this one, ...), each time in a process of
its own with the checkout as working folder and import path, so that a slow change of the machine's
speed acts on both alike. A tool that offers `--against CHECKOUT` runs a command whose output says
the speed of each case. It is the checkout's own command, so that modules may have other names.
"""

import math
import os
import statistics
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OWN = Path(__file__).parent.parent
# Quantiles 0.975 of Student's t with 1, 2, ... 30 degrees of freedom; the last serves beyond.
_T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

Speeds = Mapping[str, float]
"""Speed of each case, in any unit that grows with speed."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Geometric mean of paired ratios of speeds, and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--against` and `--pairs`."""
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="compare with another checkout"
    )
    parser.add_argument("--pairs", type=int, default=10, help="pairs of processes of a comparison")


def ratio_interval(own: Sequence[float], other: Sequence[float]) -> Ratio:
    """Ratio own / other of paired speeds, by Student's t on the logarithms of the pairs' ratios.

    Raises:
        ValueError: There are fewer than two pairs.
    """
    if len(own) < 2:
        raise ValueError(f"expected at least two pairs, found {len(own)}; raise --pairs")
    logs = [math.log(a / b) for a, b in zip(own, other, strict=True)]
    mean = statistics.fmean(logs)
    quantile = _T_QUANTILES[min(len(logs) - 1, len(_T_QUANTILES)) - 1]
    half = quantile * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(mean=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


def run_in(checkout: Path, arguments: Sequence[str]) -> str:
    """Run Python with these arguments in a checkout; what it writes to standard output.

    Raises:
        RuntimeError: It failed; with the end of its standard error.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{checkout}: exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def compare(measure: Callable[[Path], Speeds], *, other: Path, pairs: int) -> dict[str, Ratio]:
    """Measure both checkouts in turn and print the ratio of each case.

    Args:
        measure: From a checkout to the speeds of its cases, in a process of its own.
        other: The other checkout.
        pairs: How often each is measured.

    Returns:
        This checkout's speed / the other's, by case.

    Raises:
        FileNotFoundError: The other folder is no checkout.
        ValueError: There are fewer than two pairs, or cases differ.
    """
    if not (other / "asr" / "__init__.py").is_file():
        raise FileNotFoundError(f"expected a checkout at {other}, found no asr/__init__.py in it")
    if pairs < 2:
        raise ValueError(f"expected at least two pairs, found {pairs}; raise --pairs")
    other = other.resolve()
    runs: list[tuple[Speeds, Speeds]] = []
    for number in range(1, pairs + 1):
        runs.append((measure(OWN), measure(other)))
        print(f"pair {number} of {pairs} measured", file=sys.stderr, flush=True)
    cases = list(runs[0][0])
    if any(set(speeds) != set(cases) for pair in runs for speeds in pair):
        raise ValueError(f"expected the cases {cases} of both checkouts, found {list(runs[0][1])}")
    ratios = {
        case: ratio_interval([own[case] for own, _ in runs], [them[case] for _, them in runs])
        for case in cases
    }
    for case, ratio in ratios.items():
        print(
            f"{case:32} speed {ratio.mean:.3f} times that of {other.name} "
            f"(95 % interval {ratio.low:.3f} .. {ratio.high:.3f}, {pairs} pairs)"
        )
    return ratios
