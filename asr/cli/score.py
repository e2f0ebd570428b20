"""`asr score`: references and hypotheses to error rates."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest
from asr.files import write_text
from asr.scoring.page_data import System
from asr.scoring.report import Missing, to_json
from asr.scoring.report import score as score_hypotheses
from asr.scoring.text import to_text
from asr.transcripts.hypothesis_file import read_hypotheses


def score(
    *,
    ref: Annotated[Path, typer.Option(help="Manifest with the reference transcripts.")],
    hyp: Annotated[Path, typer.Option(help="Hypotheses that `asr decode` wrote (jsonl).")],
    json: Annotated[Path | None, typer.Option(help="File to write the report to, as JSON.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="File to write the report to, as one page with every utterance."),
    ] = None,
    embed_audio: Annotated[
        bool, typer.Option("--embed-audio", help="Put the audio into the page (Ogg Opus).")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Hypotheses of another system to compare with; may be repeated."),
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="What an utterance without a hypothesis counts as.")
    ] = "error",
) -> None:
    """Compare hypotheses with references: word and character error rates.

    With 95 % intervals, a table of speakers and the worst utterances. The
    page shows and plays every utterance, and may be opened without a server.
    """
    if embed_audio and html is None:
        raise typer.BadParameter("needs --html", param_hint="--embed-audio")
    references = read_manifest(ref)
    paths = [hyp, *(against or [])]
    check_outputs([json, html], inputs=[ref, *paths])
    systems = [
        System(name=name, path=path, texts=_texts(path))
        for name, path in zip(_distinct_names(paths), paths, strict=True)
    ]
    report = score_hypotheses(
        references,
        systems[0].texts,
        against={system.name: system.texts for system in systems[1:]},
        missing=missing,
    )
    if json is not None:
        write_text(json, to_json(report))
    if html is not None:
        from asr.scoring.page import write_page

        write_page(
            html,
            manifest=ref,
            references=references,
            systems=systems,
            report=report,
            audio="embedded" if embed_audio else "linked",
        )
    print(to_text(report), end="")


def _texts(path: Path) -> dict[str, str]:
    return {name: hypothesis.text for name, hypothesis in read_hypotheses(path).items()}


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with as many of their folders as tell them apart."""
    whole = [Path(os.path.normpath(path.absolute())) for path in paths]
    for path in whole:
        if whole.count(path) > 1:
            raise ValueError(f"expected different systems, found {path} twice; give each file once")
    parts = 1
    while len({path.parts[-parts:] for path in whole}) < len(whole):
        parts += 1
    return [str(Path(*path.parts[-parts:])) for path in whole]
