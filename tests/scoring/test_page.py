import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import Utterance
from asr.scoring.page import write_page
from asr.scoring.page_data import PageData, System, make_data
from asr.scoring.report import score

ATTACK = "</script><img src=x onerror=alert(1)>"


def utterance(name: str, text: str, speaker: str | None = "ann") -> Utterance:
    return Utterance(
        id=name, audio_filepath=Path(f"/a/{name}"), duration_seconds=2.0, text=text, speaker=speaker
    )


REFERENCES = [
    utterance("u1", "THE CAT SAT ON THE MAT"),
    utterance("u2", "A DOG RAN", "bob"),
    utterance("u3", "", "bob"),
    utterance("u4", "It\u2019s late", "cay"),
]
HYPOTHESES = {"u1": "THE BAT SAT THE MAT NOW", "u2": "A DOG RAN", "u3": "UM", "u4": "its late"}
OTHERS = {"u1": "THE BAT SAT ON THE MAT", "u2": "DOG BAT", "u4": ""}


def system(name: str, texts: Mapping[str, str], folder: Path = Path("/x")) -> System:
    return System(name=name, path=folder / name, texts=texts)


@pytest.fixture(scope="module")
def data() -> PageData:
    systems = [system("a", HYPOTHESES), system("b", OTHERS)]
    return make_data(REFERENCES, systems, ["u.flac"] * 4)


def page(
    folder: Path,
    references: Sequence[Utterance] = REFERENCES,
    *texts: Mapping[str, str],
    names: Sequence[str] = "abcdefgh",
) -> str:
    manifest = folder / "ref.jsonl"
    manifest.touch()
    systems = [
        system(name, own, folder) for name, own in zip(names, texts or (HYPOTHESES,), strict=False)
    ]
    for item in systems:
        item.path.parent.mkdir(parents=True, exist_ok=True)
        item.path.touch()
    report = score(
        references,
        systems[0].texts,
        against={item.name: item.texts for item in systems[1:]},
        missing="deletions",
    )
    write_page(
        folder / "page.html",
        manifest=manifest,
        references=references,
        systems=systems,
        report=report,
    )
    return (folder / "page.html").read_text(encoding="utf-8")


def block(text: str) -> Any:  # noqa: ANN401 - JSON
    """The page's data, read as a browser does: up to the first end of a script."""
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script', text, re.S)
    return json.loads(found)


def test_alignments_are_runs_of_hits_with_errors_between(data: PageData) -> None:
    first, second = data.utterances[0].hypotheses
    assert first.alignment == (
        "THE",
        ("CAT", "BAT"),
        "SAT",
        ("ON", None),
        "THE MAT",
        (None, "NOW"),
    )
    assert second.alignment == ("THE", ("CAT", "BAT"), "SAT ON THE MAT")
    assert data.utterances[1].hypotheses[0].alignment == ("A DOG RAN",)
    assert data.utterances[2].hypotheses[0].alignment == ((None, "UM"),)


def test_counts_by_hand(data: PageData) -> None:
    counts = [[item.counts for item in row.hypotheses] for row in data.utterances]
    # b lacks u3 and u4's text; of u2 it drops A and has BAT for RAN.
    assert counts == [
        [(1, 1, 1), (1, 0, 0)],
        [(0, 0, 0), (1, 1, 0)],
        [(0, 0, 1), (0, 0, 0)],
        [(1, 0, 0), (0, 2, 0)],
    ]
    assert [item.words for item in data.utterances] == [6, 3, 0, 2]
    missing = [[item.missing for item in row.hypotheses] for row in data.utterances]
    assert missing == [[False, False], [False, False], [False, True], [False, False]]


def test_texts_are_given_where_normalising_changed_them(data: PageData) -> None:
    assert [item.text for item in data.utterances] == [None, None, None, "It\u2019s late"]
    assert [item.hypotheses[0].text for item in data.utterances] == [None, None, None, "its late"]


def test_confusions_of_each_system_by_count_then_by_word(data: PageData) -> None:
    substitutions, deletions, insertions = data.confusions[0]
    assert substitutions.most == (("CAT", "BAT", 1), ("IT'S", "ITS", 1))
    assert deletions.most == (("ON", None, 1),)
    assert insertions.most == ((None, "NOW", 1), (None, "UM", 1))
    substitutions, deletions, insertions = data.confusions[1]
    assert substitutions.most == (("CAT", "BAT", 1), ("RAN", "BAT", 1))
    assert deletions.most == (("A", None, 1), ("IT'S", None, 1), ("LATE", None, 1))
    assert (insertions.different, insertions.most) == (0, ())


def test_more_frequent_confusions_come_first_and_only_some_are_shown() -> None:
    # Letters, as the normaliser keeps nothing else: 120 different words, ZZ three times.
    words = [f"X{chr(65 + index // 26)}{chr(65 + index % 26)}" for index in range(120)]
    references = [utterance("u1", " ".join([*words, "ZZ", "ZZ", "ZZ"]))]
    found = make_data(references, [system("a", {"u1": ""})], ["a"]).confusions[0][1]
    assert found.most[:2] == (("ZZ", None, 3), ("XAA", None, 1))
    assert (found.different, len(found.most)) == (121, 100)


def test_the_page_holds_the_numbers_of_the_report(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<strong>45.45&#8239;%</strong>" in text
    assert "<strong>27.50&#8239;%</strong>" in text
    assert "3 speakers are few" in text
    record = block(text)
    assert [item["id"] for item in record["utterances"]] == ["u1", "u2", "u3", "u4"]
    assert record["utterances"][0]["hypotheses"][0]["alignment"][1] == ["CAT", "BAT"]
    assert record["plots"]["speakers"][0]["name"] == "ann"
    assert "Differences of the WER" not in text
    assert list(tmp_path.glob("*.part")) == []


def test_the_page_names_nothing_outside_of_it(tmp_path: Path) -> None:
    class Addresses(HTMLParser):
        found: list[str | None]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value for name, value in attrs if name in ("src", "href")]

    parser = Addresses()
    parser.found = []
    parser.feed(page(tmp_path))
    assert parser.found == ["data:,", "#utterances"]


def test_three_systems_are_compared_with_the_first(tmp_path: Path) -> None:
    text = page(tmp_path, REFERENCES, HYPOTHESES, OTHERS, {**HYPOTHESES, "u3": ""})
    record = block(text)
    assert [item["label"] for item in record["systems"]] == ["A", "B", "C"]
    assert len(record["confusions"]) == 3
    assert "corrected by Holm for 2 comparisons" in text
    plain = re.sub(r"<[^>]+>|\s+", " ", text)
    # 5 errors in 11 words against 5 and 4.
    assert re.search(r"A \u2212 +B +\+0\.00", plain)
    assert re.search(r"A \u2212 +C +\+9\.09", plain)


def test_html_in_every_text_is_escaped(tmp_path: Path) -> None:
    references = [utterance(ATTACK, f"A {ATTACK}", ATTACK), utterance("u2", "B C", "<b>&\u2028")]
    hypotheses = {ATTACK: ATTACK, "u2": "B <!-- <script>"}
    (tmp_path / "provenance.json").write_text(json.dumps({ATTACK: [ATTACK]}))
    text = page(tmp_path, references, hypotheses, names="<")
    assert "<img" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<title>&lt;: WER" in text
    assert "&lt;img src=x" in text
    record = block(text)["utterances"][0]
    assert (record["id"], record["speaker"]) == (ATTACK, ATTACK)
    assert record["hypotheses"][0]["text"] == ATTACK
    assert block(text)["utterances"][1]["speaker"] == "<b>&\u2028"


def test_without_speakers_the_page_says_why_there_is_no_plot(tmp_path: Path) -> None:
    text = page(tmp_path, [utterance("u1", "A B", None), utterance("u2", "C")], {"u1": "A"})
    assert "WER by speaker: no speaker given for 1 utterances." in text
    assert 'id="speakers-plot"' not in text
    assert block(text)["plots"]["speakers"] == []
    assert "1 missing hypotheses are counted as deletions" in text


def test_empty_references_have_no_rate(tmp_path: Path) -> None:
    text = page(tmp_path, [utterance("u1", "")], {"u1": "UM"})
    assert "<strong>undefined&#8239;%</strong>" in text
    assert block(text)["plots"]["lengths"][0]["rates"][0]["rate"] is None


@pytest.mark.parametrize("place", ["provenance.json", "decoded/provenance.json"])
def test_the_experiment_s_record_is_shown(tmp_path: Path, place: str) -> None:
    (tmp_path / "decoded").mkdir()
    record = {"command": ["asr", "train"], "versions": {"torch": "2.11"}, "init": None}
    (tmp_path / place).write_text(json.dumps(record))
    text = page(tmp_path, REFERENCES, HYPOTHESES, names=("decoded/a",))
    for key, value in (("command", "asr train"), ("versions.torch", "2.11"), ("init", "none")):
        assert f"<dt>{key}</dt><dd>{value}</dd>" in text
    (tmp_path / place).unlink()
    text = page(tmp_path, REFERENCES, HYPOTHESES, names=("decoded/a",))
    assert "no experiment's record lies beside these hypotheses" in text


def test_a_broken_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(ValueError, match=r"provenance\.json: expected the JSON record"):
        page(tmp_path)


def test_a_page_has_room_for_six_systems(tmp_path: Path) -> None:
    texts = [HYPOTHESES] * 6
    assert block(page(tmp_path, REFERENCES, *texts))["systems"][5]["label"] == "F"
    with pytest.raises(ValueError, match="at most 6 systems on a page, found 7; leave out some"):
        page(tmp_path, REFERENCES, *texts, HYPOTHESES)


def test_a_page_that_fails_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = page(tmp_path)

    def fail(**_: object) -> Iterator[str]:
        yield "<!DOCTYPE html>"
        raise OSError("no space")

    monkeypatch.setattr("asr.scoring.page._render", fail)
    with pytest.raises(OSError, match="no space"):
        page(tmp_path)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == former
    assert list(tmp_path.glob("*.part")) == []


def test_the_page_knows_where_in_its_file_an_utterance_is_and_how_long() -> None:
    item = Utterance(
        id="u", audio_filepath=Path("/a"), duration_seconds=2.504, offset_seconds=1.5, text="A"
    )
    [shown] = make_data([item], [System(name="a", path=Path("/x"), texts={})], ["a"]).utterances
    assert (shown.offset, shown.seconds) == (1.5, 2.5)
