"""The contract that every entry of `CORPORA` keeps."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from asr.data.corpora import CORPORA
from asr.data.manifest import read_manifest
from asr.data.validation import ManifestReport
from tests.data.corpora.trees import TREES, Tree

pytestmark = pytest.mark.parametrize("word", CORPORA)


@pytest.fixture
def tree(word: str, tmp_path: Path) -> Tree:
    return TREES[word](tmp_path / "in")


def prepare(
    word: str, tree: Tree, out: Path, splits: Sequence[str] | None = None
) -> list[ManifestReport]:
    return CORPORA[word].prepare(tree.root, out, splits=splits, jobs=2)


def test_manifests_say_what_is_there(word: str, tree: Tree, tmp_path: Path) -> None:
    reports = prepare(word, tree, tmp_path / "out")
    assert {report.name for report in reports} == set(tree.texts)
    for report in reports:
        assert report.manifest == tmp_path / "out" / f"{report.name}.jsonl"
        utterances = read_manifest(report.manifest)
        assert {item.id: item.text for item in utterances} == tree.texts[report.name]
        assert all(item.audio_filepath.is_file() for item in utterances)
        assert all(item.speaker for item in utterances)
        durations = [item.duration_seconds for item in utterances]
        # An MP3 decoder gives whole frames of 576 samples.
        assert durations == pytest.approx([tree.seconds] * len(utterances), abs=0.08)
        assert report.utterances == len(utterances)
        assert report.duration_seconds == pytest.approx(sum(durations))
        assert not report.broken


def test_again_gives_the_same_bytes(word: str, tree: Tree, tmp_path: Path) -> None:
    for out in ("a", "b", "a"):
        prepare(word, tree, tmp_path / out)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in "ab"
    )
    assert first == second
    assert len(first) == len(tree.texts)


def test_splits_are_in_the_order_asked_for_and_once(word: str, tree: Tree, tmp_path: Path) -> None:
    last, first = sorted(tree.texts)[-1], sorted(tree.texts)[0]
    reports = prepare(word, tree, tmp_path / "out", [last, first, last])
    assert [report.name for report in reports] == [last, first]


def test_broken_items_are_named_and_leave_no_manifest(
    word: str, tree: Tree, tmp_path: Path
) -> None:
    split, recording = next(iter(tree.recordings.items()))
    recording.write_text("no audio")
    [report] = prepare(word, tree, tmp_path / "out", [split])
    assert report.manifest is None
    assert [item.id for item in report.broken] == [recording.stem]
    assert str(recording) in report.broken[0].reason
    assert not (tmp_path / "out").exists()
    [report] = CORPORA[word].prepare(tree.root, tmp_path / "out", splits=[split], skip_broken=True)
    assert report.manifest is not None
    assert recording.stem not in {item.id for item in read_manifest(report.manifest)}


def test_unknown_split_is_an_error_that_names_the_known(
    word: str, tree: Tree, tmp_path: Path
) -> None:
    known = ", ".join(sorted(tree.texts))
    with pytest.raises(FileNotFoundError, match=rf"expected other below .*found {known}; check"):
        prepare(word, tree, tmp_path / "out", [next(iter(tree.texts)), "other"])
    assert not (tmp_path / "out").exists()


def test_missing_corpus_is_an_error_that_says_how_to_come_by_it(word: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        CORPORA[word].prepare(tmp_path / "gone", tmp_path / "out")
    assert "found no split" in str(error.value)
    assert str(error.value).endswith(CORPORA[word].source)


def test_unknown_split_cannot_be_downloaded(word: str, tmp_path: Path) -> None:
    download = CORPORA[word].download
    if download is None:
        assert "://" in CORPORA[word].source
        return
    with pytest.raises(ValueError, match=r"expected splits among .*found other"):
        download(tmp_path, splits=["other"])
    assert not list(tmp_path.iterdir())
