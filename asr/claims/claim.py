"""What a claim is, how it is measured, and what came of it."""

import statistics
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

Thresholds = Mapping[str, float]
_KINDS = ("at_most", "at_least", "within")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A plot.

    Args:
        title: What it shows.
        x: Name of the horizontal axis, with its unit.
        y: Name of the vertical axis, with its unit.
        lines: Points (x, y) of each line.
        logarithmic: Whether both axes are.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, list[tuple[float, float]]]
    logarithmic: bool = True


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one seed gave: figures by name, and plots."""

    values: Mapping[str, float]
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A paper's headline and the experiment that puts it to the test.

    Args:
        headline: What the paper claims, in the terms of the experiment.
        source: The paper.
        measure: From a seed and the claim's thresholds to figures; a threshold `NAME_at_most` is
            about the figure NAME.
    """

    headline: str
    source: str
    measure: Callable[[int, Thresholds], Measurement]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure against its threshold; the median over seeds decides.

    Args:
        name: Name of the figure.
        kind: at_most, at_least, or within (the limit's distance from one).
        limit: The threshold.
        values: The figure for each seed.
    """

    name: str
    kind: str
    limit: float
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over seeds."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the threshold."""
        if self.kind == "within":
            return abs(self.median - 1) <= self.limit
        return self.median <= self.limit if self.kind == "at_most" else self.median >= self.limit


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What became of a claim.

    Args:
        name: Its word.
        claim: The claim.
        checks: Its checks.
        curves: Plots of the first seed.
        wall_seconds: What it took.
    """

    name: str
    claim: Claim
    checks: tuple[Check, ...]
    curves: tuple[Curve, ...] = field(default=())
    wall_seconds: float

    @property
    def holds(self) -> bool:
        """Whether all checks hold."""
        return all(check.holds for check in self.checks)


def read_thresholds() -> Mapping[str, Thresholds]:
    """The thresholds by claim, as they were set before the first run."""
    text = files("asr.claims").joinpath("thresholds.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def run_claim(name: str, claim: Claim, thresholds: Thresholds) -> ClaimResult:
    """Measure a claim with as many seeds as its thresholds say."""
    start = time.perf_counter()
    results = [claim.measure(seed, thresholds) for seed in range(int(thresholds["seeds"]))]
    checks = []
    for key, limit in thresholds.items():
        for kind in _KINDS:
            figure = key.removesuffix(f"_{kind}")
            if figure != key:
                values = tuple(result.values[figure] for result in results)
                checks.append(Check(name=figure, kind=kind, limit=limit, values=values))
    return ClaimResult(
        name=name,
        claim=claim,
        checks=tuple(checks),
        curves=results[0].curves,
        wall_seconds=time.perf_counter() - start,
    )
