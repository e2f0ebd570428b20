"""`asr claims`: each paper's headline put to the test."""

from pathlib import Path
from typing import Annotated

import typer


def claims(
    out: Annotated[Path, typer.Option(help="Folder for claims.md, claims.json and plots.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Run this claim alone; may be repeated.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="English text, plain or .gz, one sentence a line, for the claims about language "
            "models; without it they are left out."
        ),
    ] = None,
) -> None:
    """Put each attention's headline claim to a small experiment with a threshold set beforehand.

    A claim that does not hold is reported as such; it is a result, not an error.
    """
    from asr.claims import CLAIMS
    from asr.claims.claim import read_thresholds, run_claim
    from asr.claims.language import LANGUAGE_CLAIMS, language_claims
    from asr.claims.report import check_plots, write_report

    check_plots()
    claims = {**CLAIMS, **({} if text is None else language_claims(text))}
    names = only or list(claims)
    unknown = sorted(set(names) - set(claims))
    if unknown:
        hint = "; give --text FILE" if set(unknown) & set(LANGUAGE_CLAIMS) else ""
        raise ValueError(
            f"expected claims among {', '.join(sorted(claims))}, found {', '.join(unknown)}{hint}"
        )
    thresholds = read_thresholds()
    results = []
    for name in names:
        results.append(run_claim(name, claims[name], thresholds[name]))
        verdict = "holds" if results[-1].holds else "does not hold"
        print(f"{name:18}{verdict:15}{results[-1].wall_seconds:7.1f} s", flush=True)
        write_report(results, out)
    print(f"report: {out / 'claims.md'} and {out / 'claims.json'}")
