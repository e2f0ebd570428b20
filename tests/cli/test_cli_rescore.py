import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import kenlm
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from asr.cli import app
from asr.data.manifest import Utterance, write_manifest
from asr.inference.rescoring import text_log_probs
from asr.lm.ngram import load_ngram
from asr.lm.word_level import train_word_ngram
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Alternative, Hypothesis, Word
from asr.transcripts.hypothesis_file import HypothesisRecord, read_records, write_hypotheses

_TEXTS = ("LAZY DOG", "QUICK FOX")
_WORDS = tuple(
    Word(word=word, start_seconds=start, end_seconds=start + 0.5, confidence=0.5)
    for word, start in (("LAZY", 0.0), ("DOG", 0.5))
)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _message(result: Result) -> str:
    return str(result.exception)


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    """Lists of c and a: LAZY DOG has the higher acoustic score, QUICK FOX that of the search."""
    nbest = tuple(
        Alternative(text=text, score=score, acoustic_score=score, lm_scores={"lm_score": lm_score})
        for text, score, lm_score in zip(_TEXTS, (-1.0, -2.0), (-6.0, -3.0), strict=True)
    )
    found = Hypothesis(text=_TEXTS[0], score=-1.0, words=_WORDS, duration_seconds=1.0, nbest=nbest)
    write_hypotheses(
        tmp_path / "hyp.jsonl", [HypothesisRecord(id=name, hypothesis=found) for name in "ca"]
    )
    return tmp_path / "hyp.jsonl"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "rescored.jsonl"


@pytest.fixture
def manifest(audio: Path, tmp_path: Path) -> Path:
    utterances = [
        Utterance(id=name, audio_filepath=audio / file, duration_seconds=1.0, text="QUICK FOX")
        for name, file in (("a", "a.wav"), ("c", "c.flac"))
    ]
    write_manifest(tmp_path / "dev.jsonl", utterances)
    return tmp_path / "dev.jsonl"


@pytest.fixture
def ngram(letters: Tokenizer, tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("the lazy dog\na quick fox\nthe fox jumps over a dog\n")
    letters.save(tmp_path / "tokenizer.model")
    folder = tmp_path / "ngram"
    command = ["lm", "train", "--type", "ngram", "--text", tmp_path / "text.txt", "--order", 3]
    result = _run(*command, "--tokenizer", tmp_path / "tokenizer.model", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def words(tmp_path: Path) -> Path:
    train_word_ngram(["QUICK FOX", "A FOX"], tmp_path / "words.arpa", order=2)
    return tmp_path / "words.arpa"


def _ngram_scores(folder: Path, tokenizer: Tokenizer) -> list[float]:
    labels = [np.array(tokenizer.encode(text), dtype=np.int32) for text in _TEXTS]
    scores: list[float] = load_ngram(folder).table.sentence_log_probs(labels).tolist()
    return scores


def _scores(path: Path, name: str) -> list[list[float]]:
    """The scores of a name, in the order of the lists."""
    return [[each.lm_scores[name] for each in one.hypothesis.nbest] for one in read_records(path)]


def test_scores_are_added_and_the_order_kept(
    *, hyp: Path, ngram: Path, words: Path, letters: Tokenizer, out: Path
) -> None:
    result = _run("rescore", hyp, "--add", f"pieces={ngram}", "--add", f"w={words}", "--out", out)
    assert result.exit_code == 0, result.output
    pieces = _ngram_scores(ngram, letters)
    oracle = kenlm.Model(str(words))
    of_words = [math.log(10) * oracle.score(text) for text in _TEXTS]
    assert _scores(out, "pieces_score") == [pytest.approx(pieces, rel=1e-5)] * 2
    assert _scores(out, "w_score") == [pytest.approx(of_words, rel=1e-5)] * 2
    # Nothing else has changed, though both would put the second text first.
    assert pieces[1] > pieces[0] + 1 or of_words[1] > of_words[0] + 1
    without = [
        replace(
            record,
            hypothesis=replace(
                record.hypothesis,
                nbest=tuple(
                    replace(each, lm_scores={"lm_score": each.lm_scores["lm_score"]})
                    for each in record.hypothesis.nbest
                ),
            ),
        )
        for record in read_records(out)
    ]
    assert without == read_records(hyp)


@pytest.mark.parametrize(
    ("weights", "scores", "text"),
    [
        # -1 - 0.1 * 6 and -2 - 0.1 * 3
        (["lm=0.1"], [-1.6, -2.3], "LAZY DOG"),
        # -1 - 6 and -2 - 3
        (["lm=1"], [-5.0, -7.0], "QUICK FOX"),
        # 4 * -1 - 6 + 2 * 0.5 and 4 * -2 - 3 + 2 * 0.5
        (["lm=1", "acoustic=4", "length=0.5"], [-9.0, -10.0], "LAZY DOG"),
        (["lm=0", "length=-1"], [-3.0, -4.0], "LAZY DOG"),
    ],
)
def test_weights_rank(
    hyp: Path, out: Path, *, weights: Sequence[str], scores: Sequence[float], text: str
) -> None:
    options = [option for weight in weights for option in ("--weight", weight)]
    result = _run("rescore", hyp, *options, "--out", out)
    assert result.exit_code == 0, result.output
    for record in read_records(out):
        found = record.hypothesis
        assert found.text == found.nbest[0].text == text
        assert [each.score for each in found.nbest] == pytest.approx(scores)
        assert found.score == found.nbest[0].score
        # Only the text of before has word times.
        assert found.words == (_WORDS if text == _TEXTS[0] else ())


def test_another_recogniser(
    *, tiny_experiment: Path, manifest: Path, hyp: Path, ngram: Path, letters: Tokenizer, out: Path
) -> None:
    adds = ["--add", f"ear={tiny_experiment}", "--add", f"pieces={ngram}", "--audio", manifest]
    options = ["--weight", "ear=2", "--weight", "pieces=0.5", "--weight", "lm=0"]
    result = _run("rescore", hyp, *adds, *options, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    recognizer = load(tiny_experiment)
    folder = manifest.parent / "audio"
    heard = text_log_probs(
        [
            Utterance(id=file, audio_filepath=folder / file, duration_seconds=1.0)
            for file in ("c.flac", "a.wav")
        ],
        [_TEXTS, _TEXTS],
        acoustic_model=recognizer.acoustic_model,
        tokenizer=recognizer.tokenizer,
        batch_seconds=0.1,
    )
    ears = {each.index: each.log_probs for each in heard}
    pieces = _ngram_scores(ngram, letters)
    for index, record in enumerate(read_records(out)):
        assert record.id == "ca"[index]
        found = {each.text: each for each in record.hypothesis.nbest}
        for place, text in enumerate(_TEXTS):
            assert found[text].lm_scores["ear_score"] == pytest.approx(ears[index][place], rel=1e-4)
            expected = -(1.0 + place) + 2 * ears[index][place] + 0.5 * pieces[place]
            assert found[text].score == pytest.approx(expected, rel=1e-4)
        assert record.hypothesis.score == max(each.score for each in found.values())


def test_a_recording_that_cannot_be_read_is_left_out(
    tiny_experiment: Path, manifest: Path, hyp: Path, out: Path
) -> None:
    (manifest.parent / "audio" / "a.wav").write_bytes(b"RIFF")
    command = ["rescore", hyp, "--add", f"ear={tiny_experiment}", "--audio", manifest, "--out", out]
    result = _run(*command)
    assert result.exit_code == 1
    named, counted = result.stderr.splitlines()
    assert named.startswith("error: a: ")
    assert counted.startswith("error: expected audio of 2 hypotheses, found 1 recordings that can")
    [record] = read_records(out)
    assert record.id == "c"
    assert len(_scores(out, "ear_score")[0]) == 2


def test_nothing_is_written_where_no_recording_can_be_read(
    tiny_experiment: Path, manifest: Path, hyp: Path, out: Path
) -> None:
    for name in ("a.wav", "c.flac"):
        (manifest.parent / "audio" / name).unlink()
    command = ["rescore", hyp, "--add", f"ear={tiny_experiment}", "--audio", manifest, "--out", out]
    result = _run(*command)
    assert result.exit_code == 1
    assert result.stderr.endswith("named above; nothing is written\n")
    assert list(out.parent.iterdir()) == []


def test_tuned_weights_rank_as_the_tuning_said(
    *, hyp: Path, manifest: Path, words: Path, tmp_path: Path, out: Path
) -> None:
    assert _run("rescore", hyp, "--add", f"w={words}", "--out", out).exit_code == 0
    file = tmp_path / "weights.json"
    tuned = _run("lm", "tune", out, "--ref", manifest, "--json", file)
    assert tuned.exit_code == 0, tuned.output
    record = json.loads(file.read_text())
    assert list(record["weights"]) == ["lm", "w", "length"]
    assert record["tuning"]["best"][0]["words"]["counts"]["rate"] == 0
    ranked = tmp_path / "ranked.jsonl"
    # Once on the lists with the scores, once on those without.
    for command in (["rescore", out], ["rescore", hyp, "--add", f"w={words}"]):
        result = _run(*command, "--weights", file, "--out", ranked)
        assert result.exit_code == 0, result.output
        assert [one.hypothesis.text for one in read_records(ranked)] == ["QUICK FOX"] * 2
    # The command line comes before the file.
    options = ["--weight", "lm=0", "--weight", "w=0"]
    assert _run("rescore", out, "--weights", file, *options, "--out", ranked).exit_code == 0
    assert [one.hypothesis.text for one in read_records(ranked)] == ["LAZY DOG"] * 2


def test_files_of_0_1_0(*, hyp: Path, manifest: Path, tmp_path: Path, out: Path) -> None:
    text = hyp.read_text()
    scores = '"rescoring_score": -3.0, "recogniser_score": -4.0'
    hyp.write_text(
        text.replace('"lm_score": -6.0', f'"lm_score": -6.0, {scores}').replace(
            '"lm_score": -3.0}', f'"lm_score": -3.0, {scores}}}'
        )
    )
    tuned = _run("lm", "tune", hyp, "--ref", manifest)
    assert "--weight lm=" in tuned.output
    assert " --weight recogniser=" in tuned.output
    assert " --weight rescoring=" in tuned.output
    file = tmp_path / "weights.json"
    options = {"--lm-weight": 1, "--recogniser-weight": 2, "--rescoring-weight": 0.5}
    file.write_text(json.dumps({"options": {**options, "--word-score": 0.25}}))
    result = _run("rescore", hyp, "--weights", file, "--out", out)
    assert result.exit_code == 0, result.output
    # -2 - 3 - 2 * 4 - 0.5 * 3 + 2 * 0.25 and -1 - 6 - 8 - 1.5 + 0.5
    for record in read_records(out):
        assert [each.score for each in record.hypothesis.nbest] == [-14.0, -16.0]
        assert record.hypothesis.text == "QUICK FOX"


def test_a_score_without_weight(hyp: Path, words: Path, out: Path) -> None:
    found = _message(_run("rescore", hyp, "--weight", "length=1", "--out", out))
    assert "expected a weight of every score of the lists, found none of 'lm'" in found
    command = ["rescore", hyp, "--add", f"w={words}", "--weight", "lm=1", "--out", out]
    assert "found none of 'w'; give --weight w=X" in _message(_run(*command))
    assert not out.exists()


def test_a_search_without_language_model_needs_no_weight_for_it(
    hyp: Path, words: Path, out: Path
) -> None:
    hyp.write_text(hyp.read_text().replace("-6.0", "0.0").replace("-3.0", "0.0"))
    command = ["rescore", hyp, "--add", f"w={words}", "--weight", "w=1", "--out", out]
    assert _run(*command).exit_code == 0
    assert "found one of 'lm'" in _message(_run(*command, "--weight", "lm=1"))


def test_a_weight_without_score(hyp: Path, out: Path, tmp_path: Path) -> None:
    command = ["rescore", hyp, "--weight", "lm=1", "--out", out]
    found = _message(_run(*command, "--weight", "ear=1"))
    assert "expected weights of the lists' scores (lm), found one of 'ear'" in found
    (tmp_path / "w.json").write_text('{"options": {}, "weights": {"lm": 1, "pieces": 0.5}}')
    found = _message(_run("rescore", hyp, "--weights", tmp_path / "w.json", "--out", out))
    assert "found one of 'pieces'" in found


def test_some_lists_lack_a_score(hyp: Path, out: Path) -> None:
    first, second = hyp.read_text().splitlines()
    hyp.write_text(first + "\n" + second.replace('"lm_score": -6.0', '"ear_score": -6.0') + "\n")
    result = _run("rescore", hyp, "--weight", "lm=1", "--weight", "ear=1", "--out", out)
    assert "found one without ear_score" in _message(result)
    assert not out.exists()


def test_a_name_that_the_lists_have(hyp: Path, words: Path, out: Path) -> None:
    found = _message(_run("rescore", hyp, "--add", f"lm={words}", "--out", out))
    assert "expected lists without scores of the name 'lm', found some" in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--add", "acoustic=."], "found 'acoustic'"),
        (["--add", "length=."], "found 'length'"),
        (["--add", "score=."], "found 'score'"),
        (["--add", "blank_penalty=."], "found 'blank_penalty'"),
        (["--add", "words.arpa"], "expected NAME=EXP_OR_LM, found 'words.arpa'"),
        (["--add", "a b=."], "expected NAME=EXP_OR_LM, found 'a b=.'"),
        (["--add", "a=.", "--add", "a=."], "expected each name once, found 'a' again"),
        (["--add", "ear=."], "needed for 'ear': . is no language model"),
        (["--weight", "lm=1", "--audio", "m.jsonl"], "needs another recogniser in --add"),
        (["--weight", "lm"], "expected NAME=X, found 'lm'"),
        (["--weight", "lm=much"], "finite number of at least 0 after lm=, found 'much'"),
        (["--weight", "lm=-1"], "finite number of at least 0 after lm=, found '-1'"),
        (["--weight", "length=inf"], "finite number after length=, found 'inf'"),
        (["--weight", "lm=1", "--weight", "lm=2"], "expected each name once, found 'lm' again"),
        ([], "expected scores to add or weights to rank by, found neither"),
    ],
)
def test_wrong_usage(hyp: Path, out: Path, options: Sequence[str], message: str) -> None:
    result = _run("rescore", hyp, *options, "--out", out)
    assert result.exit_code == 2
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert message in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a JSON object with options, found none"),
        ("{", "expected JSON, found: "),
        ('{"options": {}, "weights": 3}', "expected weights by name, found 3"),
        (
            '{"options": {"--lm-weight": "1"}}',
            "expected the weight of lm to be a number, found '1'",
        ),
        (
            '{"options": {"--lm-weight": NaN}}',
            "expected the weight of lm to be a number, found nan",
        ),
    ],
)
def test_no_file_of_weights(*, hyp: Path, out: Path, content: str, message: str) -> None:
    file = hyp.with_name("weights.json")
    command = ["rescore", hyp, "--weights", file, "--out", out]
    assert "expected a file of weights" in _message(_run(*command))
    file.write_text(content)
    assert message in _message(_run(*command))


def test_a_bonus_tuned_for_another_length(hyp: Path, out: Path) -> None:
    file = hyp.with_name("weights.json")
    file.write_text('{"options": {"--lm-weight": 1, "--length-bonus": 0.5}}')
    command = ["rescore", hyp, "--weights", file, "--out", out]
    found = _message(_run(*command))
    assert (
        "expected lists whose length counts tokens, as those of the tuned weights, found words"
        in found
    )
    assert _run(*command, "--weight", "length=0.5").exit_code == 0


def test_lists_are_needed(hyp: Path, out: Path) -> None:
    hyp.write_text('{"id": "x", "text": "A"}\n')
    found = _message(_run("rescore", hyp, "--weight", "lm=1", "--out", out))
    assert "found 1 of 1 lines without; decode with --nbest" in found


def test_models_that_cannot_serve(
    *, hyp: Path, ngram: Path, words: Path, out: Path, tmp_path: Path
) -> None:
    found = _message(_run("rescore", hyp, "--add", f"x={tmp_path / 'none'}", "--out", out))
    assert "expected a language model or a recogniser at " in found
    words.write_text("no language model")
    result = _run("rescore", hyp, "--add", f"x={words}", "--out", out)
    assert "words.arpa" in _message(result)
    hyp.write_text(hyp.read_text().replace("QUICK", "QU1CK"))
    found = _message(_run("rescore", hyp, "--add", f"x={ngram}", "--out", out))
    assert "expected a language model whose tokenizer has all characters of the lists" in found
    assert not out.exists()


def test_inputs_are_not_written_over(
    *, tiny_experiment: Path, manifest: Path, hyp: Path, words: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.json"
    file.write_text('{"options": {"--lm-weight": 1}}')
    audio = manifest.parent / "audio" / "c.flac"
    command = ["rescore", hyp, "--add", f"w={words}", "--add", f"ear={tiny_experiment}"]
    command += ["--audio", manifest, "--weights", file]
    for target in (hyp, words, manifest, file, audio, tiny_experiment / "config.toml"):
        before = target.read_bytes()
        result = _run(*command, "--out", target)
        assert "expected to write to another file than the inputs" in _message(result)
        assert target.read_bytes() == before


def test_hypotheses_without_their_audio(
    tiny_experiment: Path, manifest: Path, hyp: Path, out: Path
) -> None:
    manifest.write_text("")
    command = ["rescore", hyp, "--add", f"ear={tiny_experiment}", "--audio", manifest, "--out", out]
    found = _message(_run(*command))
    assert "expected the audio of every hypothesis, found none of 'c' (2 lacking)" in found
