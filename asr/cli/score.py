"""`asr score`: references and hypotheses to error rates."""

from pathlib import Path
from typing import Annotated

import typer

from asr.data.manifest import read_manifest
from asr.decoding.hypothesis_file import read_hypotheses
from asr.scoring.report import Missing, to_json
from asr.scoring.report import score as score_hypotheses
from asr.scoring.text import to_text


def score(
    ref: Annotated[Path, typer.Option(help="Manifest with the reference transcripts.")],
    hyp: Annotated[Path, typer.Option(help="Hypotheses that `asr decode` wrote (jsonl).")],
    json: Annotated[Path | None, typer.Option(help="File to write the report to, as JSON.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Hypotheses of another system to compare with.")
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="What an utterance without a hypothesis counts as.")
    ] = "error",
) -> None:
    """Compare hypotheses with references: word and character error rates.

    With 95 % intervals, a table of speakers and the worst utterances.
    """
    report = score_hypotheses(
        read_manifest(ref),
        _texts(hyp),
        against=None if against is None else _texts(against),
        missing=missing,
    )
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        part = json.with_name(json.name + ".part")
        part.write_text(to_json(report), encoding="utf-8")
        part.replace(json)
    print(to_text(report), end="")


def _texts(path: Path) -> dict[str, str]:
    return {name: hypothesis.text for name, hypothesis in read_hypotheses(path).items()}
