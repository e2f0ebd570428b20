import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asr.cli.lm import app
from asr.data.manifest import Utterance, write_manifest
from asr.transcripts.hypothesis import Alternative, Hypothesis
from asr.transcripts.hypothesis_file import HypothesisRecord, write_hypotheses


def write(folder: Path, *, tokens: int | None, scores: tuple[str, ...] = ("lm_score",)) -> None:
    """The wrong text is first; the right one wins above a weight of 0.5."""
    utterances = [
        Utterance(id=name, audio_filepath=folder / f"{name}.wav", duration_seconds=1.0, text="A B")
        for name in "xyz"
    ]
    write_manifest(folder / "dev.jsonl", utterances)
    nbest = tuple(
        Alternative(
            text=text,
            score=acoustic_score,
            acoustic_score=acoustic_score,
            lm_scores=dict.fromkeys(scores, lm_score),
            tokens=tokens,
        )
        for text, acoustic_score, lm_score in (("A C", -1.0, -4.0), ("A B", -2.0, -2.0))
    )
    hypothesis = Hypothesis(text="A C", score=-1.0, words=(), duration_seconds=1.0, nbest=nbest)
    write_hypotheses(
        folder / "hyp.jsonl", [HypothesisRecord(id=name, hypothesis=hypothesis) for name in "xyz"]
    )


def run(folder: Path, *more: str) -> str:
    arguments = ["tune", str(folder / "hyp.jsonl"), "--ref", str(folder / "dev.jsonl"), *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("tokens", "bonus"), [(3, "--length-bonus"), (None, "--word-score")])
def test_tune(tmp_path: Path, tokens: int | None, bonus: str) -> None:
    write(tmp_path, tokens=tokens)
    target = tmp_path / "new" / "tuned.json"
    first, decoded, best, *_, decode, rescore = run(tmp_path, "--json", str(target)).splitlines()
    assert first == "3 utterances, 6 words; intervals of 95 % by utterance"
    assert decoded == "as decoded: WER 50.00 % no interval: the same in all"
    options = json.loads(target.read_text())["options"]
    assert list(options) == ["--lm-weight", bonus]
    assert options["--lm-weight"] > 0.5
    assert decode == (
        f"use: asr decode --lm-weight {options['--lm-weight']:g} {bonus} {options[bonus]:g}"
    )
    shown = f"--weight lm={options['--lm-weight']:g} --weight length={options[bonus]:g}"
    assert best == f"{shown}: WER 0.00 % no interval: the same in all"
    assert rescore == f"use: asr rescore {shown}"
    record = json.loads(target.read_text())
    assert record["weights"] == {"lm": options["--lm-weight"], "length": options[bonus]}
    tuning = record["tuning"]
    assert tuning["utterances"] == 3
    assert tuning["decoded"]["counts"]["errors"] == 3
    assert [item["words"]["counts"]["rate"] for item in tuning["best"]] == [0.0, 0.5]
    assert tuning["best"][0]["weights"]["lm_weights"] == {"lm_score": options["--lm-weight"]}


def test_second_language_model(tmp_path: Path) -> None:
    write(tmp_path, tokens=3, scores=("lm_score", "rescore"))
    lines = run(tmp_path).splitlines()
    assert lines[-1].startswith("use: asr rescore --weight lm=")
    assert " --weight rescore=" in lines[-1]
    # A search has no weight for the other.
    assert not any(line.startswith("use: asr decode") for line in lines)


def test_mistakes(tmp_path: Path) -> None:
    write(tmp_path, tokens=3, scores=())
    arguments = ["tune", str(tmp_path / "hyp.jsonl"), "--ref", str(tmp_path / "dev.jsonl")]
    error = CliRunner().invoke(app, arguments).exception
    assert "found none; decode with --lm" in str(error)
    assert CliRunner().invoke(app, arguments[:2]).exit_code == 2
