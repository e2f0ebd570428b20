"""Results of claims as Markdown, JSON and plots."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from asr.claims.claim import Check, ClaimResult, Curve

_SIGNS = {"at_most": "≤", "at_least": "≥", "within": "1 ±"}


def check_plots() -> None:
    """Raise if no plot can be drawn, before minutes are spent on what it would show.

    Raises:
        ValueError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(
            "expected matplotlib for the plots of the claims, found none; "
            'install the extra: pip install "attune-asr[plots]"'
        )


def write_report(results: Sequence[ClaimResult], folder: Path) -> None:
    """Write `claims.md`, `claims.json` and a PNG for each plot.

    Raises:
        OSError: The folder cannot be written.
        ValueError: There are plots, and matplotlib is not installed.
    """
    if any(result.curves for result in results):
        check_plots()
    folder.mkdir(parents=True, exist_ok=True)
    plots = {result.name: _plot(result, folder) for result in results}
    (folder / "claims.md").write_text(_markdown(results, plots), encoding="utf-8")
    records = [
        {
            "claim": result.name,
            "headline": result.claim.headline,
            "source": result.claim.source,
            "holds": result.holds,
            "wall_seconds": round(result.wall_seconds, 1),
            "checks": [
                {
                    "figure": check.name,
                    "kind": check.kind,
                    "threshold": check.limit,
                    "median": check.median,
                    "seeds": list(check.values),
                    "holds": check.holds,
                }
                for check in result.checks
            ],
        }
        for result in results
    ]
    text = json.dumps(records, indent=1) + "\n"
    (folder / "claims.json").write_text(text, encoding="utf-8")


def _markdown(results: Sequence[ClaimResult], plots: dict[str, list[str]]) -> str:
    kept = sum(result.holds for result in results)
    lines = [
        "# Claims",
        "",
        "Each paper's headline in a small experiment, against thresholds that were set before the "
        "first run (`asr/claims/thresholds.toml`). The median over seeds decides. Made by "
        "`asr claims --out DIR`.",
        "",
        f"{kept} of {len(results)} hold.",
    ]
    for result in results:
        lines += [
            "",
            f"## {result.name}: {'holds' if result.holds else 'does not hold'}",
            f"{result.claim.headline}. {result.claim.source}. {result.wall_seconds:.0f} s.",
            "",
            "| figure | median | threshold | seeds | verdict |",
            "| --- | --- | --- | --- | --- |",
            *(_row(check) for check in result.checks),
        ]
        for name in plots[result.name]:
            lines += ["", f"![{name}]({name})"]
    return "\n".join(lines) + "\n"


def _row(check: Check) -> str:
    seeds = ", ".join(f"{value:.4g}" for value in check.values)
    verdict = "holds" if check.holds else "does not hold"
    figure = check.name.replace("_", " ")
    limit = f"{_SIGNS[check.kind]} {check.limit:g}"
    return f"| {figure} | {check.median:.4g} | {limit} | {seeds} | {verdict} |"


def _plot(result: ClaimResult, folder: Path) -> list[str]:
    """Draw the claim's curves; the files' names."""
    names = []
    for number, curve in enumerate(result.curves, start=1):
        names.append(f"{result.name}-{number}.png")
        draw(curve, folder / names[-1])
    return names


def draw(curve: Curve, path: Path) -> None:
    """Write a plot as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for label, points in curve.lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    if curve.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        measured = sorted({x for points in curve.lines.values() for x, _ in points})
        axes.set_xticks(measured, labels=[f"{x:g}" for x in measured])
        axes.set_xticks([], minor=True)
    axes.set(title=curve.title, xlabel=curve.x, ylabel=curve.y)
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=110)
