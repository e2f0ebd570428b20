from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asr.cli import app
from asr.data.manifest import Utterance, write_manifest
from asr.inference.rescoring import text_log_probs
from asr.recognizer import load
from asr.transcripts.hypothesis import Alternative, Hypothesis
from asr.transcripts.hypothesis_file import HypothesisRecord, read_records, write_hypotheses

_TEXTS = ("LAZY DOG", "QUICK FOX")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def manifest(audio: Path, tmp_path: Path) -> Path:
    utterance = Utterance(
        id="c", audio_filepath=audio / "c.flac", duration_seconds=1.0, text="QUICK FOX"
    )
    write_manifest(tmp_path / "dev.jsonl", [utterance])
    return tmp_path / "dev.jsonl"


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    nbest = tuple(
        Alternative(text=text, score=-1.0, acoustic_score=-1.0, lm_scores={"lm_score": -2.0})
        for text in _TEXTS
    )
    found = Hypothesis(text=_TEXTS[0], score=-1.0, words=(), duration_seconds=1.0, nbest=nbest)
    write_hypotheses(tmp_path / "hyp.jsonl", [HypothesisRecord(id="c", hypothesis=found)])
    return tmp_path / "hyp.jsonl"


def test_rescore_then_tune(tiny_experiment: Path, manifest: Path, hyp: Path) -> None:
    out = hyp.with_name("rescored.jsonl")
    options = ["--recogniser-weight", 2, "--lm-weight", 0.25, "--word-score", 3]
    result = _run("rescore", hyp, tiny_experiment, manifest, "--out", out, *options)
    assert result.exit_code == 0, result.output
    recognizer = load(tiny_experiment)
    scores = text_log_probs(
        manifest.parent / "audio" / "c.flac",
        _TEXTS,
        acoustic_model=recognizer.acoustic_model,
        tokenizer=recognizer.tokenizer,
    )
    [record] = read_records(out)
    found = {each.text: each for each in record.hypothesis.nbest}
    for text, score in zip(_TEXTS, scores, strict=True):
        assert found[text].lm_scores["recogniser_score"] == pytest.approx(score, rel=1e-5)
        assert found[text].score == pytest.approx(-1 + 2 * score - 2 * 0.25 + 2 * 3, rel=1e-5)
    best = max(zip(scores, _TEXTS, strict=True))
    assert record.hypothesis.text == best[1]

    tuned = _run("lm", "tune", out, "--ref", manifest)
    assert "--recogniser-weight " in tuned.output.splitlines()[-1]


def test_hypotheses_without_their_audio(tiny_experiment: Path, manifest: Path, hyp: Path) -> None:
    manifest.write_text("")
    result = _run("rescore", hyp, tiny_experiment, manifest, "--out", hyp.with_name("out.jsonl"))
    assert "expected the audio of every hypothesis, found none of 'c' (1 lacking)" in str(
        result.exception
    )
