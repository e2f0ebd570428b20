"""Tables of the documents against the scores they are printed from, and links between documents."""

import re
from pathlib import Path

import pytest

from tools import bench_length, compare_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "recipes" / "librispeech" / "results"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.md")]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize(
    ("folder", "against"), [("synthetic", "conformer_tiny:full"), ("synthetic-additions", "base")]
)
def test_comparison_tables_are_what_the_tool_prints(
    folder: str,
    against: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["compare_results", "table", str(RESULTS / folder), "--against", against]
    monkeypatch.setattr("sys.argv", command)
    compare_results.main()
    document = (ROOT / "recipes" / "librispeech" / "README.md").read_text(encoding="utf-8")
    _assert_table_in(document, capsys.readouterr().out)


@pytest.mark.parametrize("name", ["one_pass", "chunks", "training"])
def test_length_tables_are_what_the_tool_prints(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench_length", "--table", str(RESULTS / "length" / f"{name}.json")]
    monkeypatch.setattr("sys.argv", command)
    bench_length.main()
    document = (ROOT / "docs" / "benchmarks" / "length.md").read_text(encoding="utf-8")
    _assert_table_in(document, capsys.readouterr().out)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(document: Path) -> None:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link} leads to no file"
        assert not heading or heading in _anchors(target), f"{link} leads to no heading"


def _assert_table_in(document: str, printed: str) -> None:
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    for row in rows:
        assert row in document, f"the document lacks the printed row {row}"


def _anchors(document: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in words}
