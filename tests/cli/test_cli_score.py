import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asr.cli.score import score

app = typer.Typer()
app.command()(score)


def write_lines(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def ref(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "ref.jsonl",
        [
            {"audio_filepath": "a.flac", "duration": 2.0, "text": "A B C D", "speaker": "1"},
            {"audio_filepath": "b.flac", "duration": 3.0, "text": "E F", "speaker": "2"},
        ],
    )


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "hyp.jsonl", [{"id": "b", "text": "E F"}, {"id": "a", "text": "a x c d"}]
    )


def test_score_prints_text_and_writes_json(ref: Path, hyp: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "score.json"
    result = CliRunner().invoke(app, ["--ref", str(ref), "--hyp", str(hyp), "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("WER 16.67 % [0.00, 25.00] (95 % by utterance, 2), ")
    assert json.loads(target.read_text())["words"]["counts"]["rate"] == 1 / 6
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_inputs_are_not_written_over(ref: Path, hyp: Path, option: str) -> None:
    before = ref.read_text(), hyp.read_text()
    for target in (ref, hyp):
        result = CliRunner().invoke(
            app, ["--ref", str(ref), "--hyp", str(hyp), option, str(target)]
        )
        assert "expected to write to another file than the inputs" in str(result.exception)
    assert (ref.read_text(), hyp.read_text()) == before


def test_json_to_a_pipe(ref: Path, hyp: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        read = threads.submit(pipe.read_text)
        arguments = ["--ref", str(ref), "--hyp", str(hyp), "--json", str(pipe)]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        assert json.loads(read.result())["utterances"] == 2
    assert pipe.is_fifo()


def test_score_against_another_system(ref: Path, hyp: Path, tmp_path: Path) -> None:
    other = write_lines(
        tmp_path / "other.jsonl", [{"id": "a", "text": ""}, {"id": "b", "text": "E F"}]
    )
    arguments = ["--ref", str(ref), "--hyp", str(hyp), "--against", str(other)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "WER 66.67 %: difference -50.00 points" in result.stdout


def test_the_page_compares_several_systems_named_by_what_tells_them_apart(
    ref: Path, hyp: Path, tmp_path: Path
) -> None:
    others = []
    for name, text in (("one", ""), ("two", "A B C")):
        (tmp_path / name).mkdir()
        others += ["--against", str(tmp_path / name / hyp.name)]
        write_lines(Path(others[-1]), [{"id": "a", "text": text}, {"id": "b", "text": "E F"}])
    target, record = tmp_path / "new" / "page.html", tmp_path / "score.json"
    arguments = ["--ref", str(ref), "--hyp", str(hyp), "--html", str(target)]
    result = CliRunner().invoke(app, [*arguments, *others, "--json", str(record)])
    assert result.exit_code == 0, result.output
    assert "Against one/hyp.jsonl with WER 66.67 %: difference -50.00 points" in result.stdout
    assert "Against two/hyp.jsonl with WER 16.67 %: difference +0.00 points" in result.stdout
    found = json.loads(record.read_text())
    assert [item["system"] for item in found["comparisons"]] == ["one/hyp.jsonl", "two/hyp.jsonl"]
    assert found["comparison"] == found["comparisons"][0]
    assert "two/hyp.jsonl" in target.read_text()
    assert list(target.parent.iterdir()) == [target]


def test_the_same_file_twice_is_no_comparison(ref: Path, hyp: Path) -> None:
    with pytest.raises(ValueError, match=r"different systems, found .*hyp\.jsonl twice"):
        score(ref=ref, hyp=hyp, against=[hyp.parent / "." / hyp.name])


def test_audio_is_put_into_a_page_only(ref: Path, hyp: Path, tmp_path: Path) -> None:
    arguments = ["--ref", str(ref), "--hyp", str(hyp), "--embed-audio"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "needs --html" in result.output
    with pytest.raises(FileNotFoundError, match=r"expected an audio file at .*a\.flac"):
        score(ref=ref, hyp=hyp, html=tmp_path / "page.html", embed_audio=True)
    assert not list(tmp_path.glob("page.html*"))


def test_a_missing_hypothesis_is_an_error_unless_counted_as_deletions(
    ref: Path, tmp_path: Path
) -> None:
    hyp = write_lines(tmp_path / "part.jsonl", [{"id": "a", "text": "A B C D"}])
    with pytest.raises(ValueError, match="none for 1: b"):
        score(ref=ref, hyp=hyp)
    arguments = ["--ref", str(ref), "--hyp", str(hyp), "--missing", "deletions"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "WER 33.33 %" in result.stdout
    assert "S/D/I 0/2/0" in result.stdout


def test_wrong_usage_exits_with_2(ref: Path, hyp: Path) -> None:
    arguments = ["--ref", str(ref), "--hyp", str(hyp), "--missing", "sometimes"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert CliRunner().invoke(app, ["--ref", str(ref)]).exit_code == 2


def test_a_file_that_does_not_exist_is_named(ref: Path, hyp: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        score(ref=ref, hyp=tmp_path / "none.jsonl")
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        score(ref=tmp_path / "none.jsonl", hyp=hyp)
