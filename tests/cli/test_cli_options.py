"""Options that reach what they are for, and the defaults that help names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.cli.decode_streaming import streamed_outcomes
from asr.cli.lm import app as lm_app
from asr.decoding import stream_inputs
from asr.decoding.hypothesis import Alternative, Hypothesis
from asr.decoding.hypothesis_file import HypothesisRecord, read_records, write_hypotheses
from asr.decoding.streaming import RecognitionStream
from asr.ngram.arpa import read_arpa
from asr.ngram.model import load_ngram
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from tests.cli import test_cli_align
from tests.cli.decode_runs import lines, run
from tests.cli.test_cli_decode_lm import ARPA, make_token_lm


def test_the_device_is_the_one_asked_for(
    tiny_experiment: Path, audio: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.jsonl"
    record = {"audio_filepath": str(audio / "c.flac"), "duration": 1.0, "text": "a"}
    manifest.write_text(json.dumps(record) + "\n")
    options = ("--out", tmp_path / "out.jsonl", "--device", "toaster")
    for result in (
        run(tiny_experiment, audio / "c.flac", *options),
        test_cli_align.run(tiny_experiment, manifest, *options),
    ):
        assert "expected a device that torch can use, found 'toaster'" in str(result.exception)


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("token", ["--beam-size", 8, "--lm-weight", 0.5, "--length-bonus", 1.0]),
        ("word", ["--beam-size", 100, "--lm-weight", 0.5, "--word-score", 0.0]),
    ],
)
def test_defaults_with_a_language_model_are_those_of_help(
    *,
    tiny_experiment: Path,
    audio: Path,
    letters: Tokenizer,
    tmp_path: Path,
    kind: str,
    defaults: list[str | float],
) -> None:
    (tmp_path / "words.arpa").write_text(ARPA)
    lm = tmp_path / "words.arpa" if kind == "word" else make_token_lm(letters, tmp_path / "lm")
    found = []
    for options in ([], [str(each) for each in defaults]):
        out = tmp_path / f"{len(options)}.jsonl"
        result = run(tiny_experiment, audio, "--out", out, "--lm", lm, "--nbest", 2, *options)
        assert result.exit_code == 0, result.output
        found.append([item["nbest"] for item in lines(out)])
    assert found[0] == found[1]
    assert any(item["lm_score"] != 0 for nbest in found[0] for item in nbest)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ([], (0.5, 0.0, 0.0)),
        (["--rescoring-weight", "2", "--lm-weight", "3", "--length-bonus", "4"], (2.0, 3.0, 4.0)),
        (["--word-score", "-1"], (0.5, 0.0, -1.0)),
    ],
)
def test_rescoring_weighs_each_part_of_a_score(
    *, letters: Tokenizer, tmp_path: Path, options: list[str], weights: tuple[float, float, float]
) -> None:
    lm, hyp, out = make_token_lm(letters, tmp_path / "lm"), tmp_path / "h.jsonl", tmp_path / "o"
    nbest = (
        Alternative(text="A LAZY DOG", score=-1.0, acoustic_score=-1.0, lm_scores={"lm_score": -7}),
    )
    found = Hypothesis(text="A LAZY DOG", score=-1, words=(), duration_seconds=1.0, nbest=nbest)
    write_hypotheses(hyp, [HypothesisRecord(id="x", hypothesis=found)])
    result = CliRunner().invoke(lm_app, ["rescore", str(hyp), str(lm), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    labels = [np.array(letters.encode("A LAZY DOG"), dtype=np.int32)]
    log_prob = float(load_ngram(lm).table.sentence_log_probs(labels)[0])
    rescoring, search, bonus = weights
    [record] = read_records(out)
    # Three words, as the lists count no token pieces.
    expected = -1.0 + rescoring * log_prob - 7 * search + 3 * bonus
    assert record.hypothesis.score == pytest.approx(expected)


def test_rare_words_and_ngrams_of_words_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a dog\na dog\na cat\n")
    out = tmp_path / "words.arpa"
    command = ["train", "--type", "word-ngram", "--text", str(tmp_path / "text.txt")]
    command += ["--order", "2", "--out", str(out)]
    more = ["--min-word-count", "2", "--min-counts", "1,2"]
    assert CliRunner().invoke(lm_app, [*command, *more]).exit_code == 0
    model = read_arpa(out)
    assert set(model.words) == {"<s>", "</s>", "<unk>", "A", "DOG"}
    pairs = {tuple(model.words[word] for word in gram) for gram in model.orders[1].grams.tolist()}
    assert pairs == {("<s>", "A"), ("A", "DOG"), ("DOG", "</s>")}


def test_latency_is_the_median_and_the_95th_percentile(
    tiny_experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcomes(*_: Any, times: stream_inputs.ComputeTimes) -> list[RecognitionStream]:  # noqa: ANN401
        for hundredths in range(101):
            times.add(hundredths / 100)
        return []

    monkeypatch.setattr(stream_inputs, "stream_outcomes", outcomes)
    recognizer = load(tiny_experiment)
    list(streamed_outcomes(recognizer, [], chunk_seconds=0.32, left_seconds=None))
    assert "compute 0.5000 s (95th percentile 0.9500 s)" in capsys.readouterr().err
