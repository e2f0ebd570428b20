import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.corpora import librispeech
from asr.data.download import ArchiveError, DownloadError, Retries
from asr.data.manifest import read_manifest
from asr.data.validation import ManifestReport

QUICK = Retries(attempts=2, backoff_seconds=0.001)


def make_chapter(split: Path, speaker: str, chapter: str, texts: list[str]) -> Path:
    folder = split / speaker / chapter
    folder.mkdir(parents=True)
    lines = []
    for index, text in enumerate(texts):
        name = f"{speaker}-{chapter}-{index:04d}"
        soundfile.write(folder / f"{name}.flac", np.full(3200, 0.1), 16000)
        lines.append(f"{name} {text}\n")
    (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "LibriSpeech"
    make_chapter(folder / "dev-clean", "84", "121", ["HELLO THERE", "", "BYE"])
    make_chapter(folder / "dev-clean", "1272", "128", ["MISTER QUILTER"])
    make_chapter(folder / "my-own", "7", "1", ["MINE"])
    (folder / "SPEAKERS.TXT").write_text("; nothing")
    (folder / "notes").mkdir()
    return folder


def prepare(
    root: Path, out: Path, splits: list[str] | None = None, *, skip_broken: bool = False
) -> list[ManifestReport]:
    return librispeech.LIBRISPEECH.prepare(
        root, out, splits=splits, skip_broken=skip_broken, jobs=2
    )


@pytest.mark.parametrize("root", [".", "LibriSpeech"])
def test_all_splits_of_the_corpus_or_its_parent(corpus: Path, tmp_path: Path, root: str) -> None:
    report = prepare(tmp_path / root, tmp_path / "out")
    assert [item.name for item in report] == ["dev-clean", "my-own"]
    first = report[0]
    assert (first.utterances, first.speakers, first.empty_transcripts) == (4, 2, 1)
    utterances = read_manifest(tmp_path / "out" / "dev-clean.jsonl")
    assert [item.id for item in utterances] == [
        "1272-128-0000", "84-121-0000", "84-121-0001", "84-121-0002",
    ]  # fmt: skip
    assert [item.text for item in utterances] == ["MISTER QUILTER", "HELLO THERE", "", "BYE"]
    assert utterances[0].speaker == "1272"
    assert utterances[0].duration_seconds == 0.2
    assert utterances[1].audio_filepath == corpus / "dev-clean/84/121/84-121-0000.flac"


def test_chosen_split_only(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "out", ["my-own"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["my-own.jsonl"]


def test_other_audio_in_the_same_layout(tmp_path: Path) -> None:
    folder = make_chapter(tmp_path / "set", "1", "2", ["ONE", "TWO"])
    path = folder / "1-2-0001.flac"
    soundfile.write(path.with_suffix(".ogg"), *soundfile.read(path), format="OGG", subtype="OPUS")
    path.unlink()
    report = prepare(tmp_path, tmp_path / "out")
    assert report[0].utterances == 2


def test_every_broken_item_is_named(corpus: Path, tmp_path: Path) -> None:
    folder = corpus / "dev-clean" / "84" / "121"
    (folder / "84-121-0000.flac").write_text("no audio")
    (folder / "84-121-0002.flac").unlink()
    soundfile.write(folder / "84-121-0009.flac", np.zeros(1600), 16000)
    (folder / "other.trans.txt").write_text("84-121-0001 TWICE\n")
    (folder / "latin.trans.txt").write_bytes(b"84-121-0010 CAF\xc9\n")
    again = make_chapter(corpus / "dev-clean", "84", "122", ["SAME"])
    shutil.copy(folder / "84-121-0001.flac", again)
    (again / "84-122.trans.txt").write_text("84-122-0000 SAME\n84-121-0001 SAME\n")
    report = prepare(corpus, tmp_path / "out")
    broken = {item.id: item.reason for item in report[0].broken}
    assert "84-121-0000.flac: expected FLAC" in broken["84-121-0000"]
    assert "found only its transcript" in broken["84-121-0002"]
    assert "expected a line for it in *.trans.txt" in broken["84-121-0009"]
    assert "expected UTF-8" in broken["latin.trans.txt"]
    reasons = [item.reason for item in report[0].broken if item.id == "84-121-0001"]
    assert len(reasons) == 2
    assert "expected a unique id" in reasons[1]
    assert "expected one line for each id" in reasons[0] + reasons[1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["my-own.jsonl"]
    report = prepare(corpus, tmp_path / "out", skip_broken=True)
    ids = [item.id for item in read_manifest(tmp_path / "out" / "dev-clean.jsonl")]
    assert ids == ["1272-128-0000", "84-121-0001", "84-122-0000"]
    assert len((tmp_path / "out" / "dev-clean.broken.txt").read_text().splitlines()) == 6


def test_missing_root_or_split_names_what_is_there(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected dev-other below .*found dev-clean, my"):
        prepare(corpus, tmp_path / "out", ["my-own", "dev-other"])
    with pytest.raises(FileNotFoundError, match=r"expected splits below .*found no split"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_real_speech_is_prepared(tmp_path: Path) -> None:
    source = os.environ.get("ATTUNE_CORPORA")
    if not source:
        pytest.skip("ATTUNE_CORPORA is not set")
    chapter = sorted(Path(source, "LibriSpeech", "dev-fullband").glob("*/*"))[0]
    target = tmp_path / "real" / chapter.parent.name / chapter.name
    target.mkdir(parents=True)
    (lines,) = (path.read_text().splitlines()[:4] for path in chapter.glob("*.trans.txt"))
    (target / "x.trans.txt").write_text("\n".join(lines))
    for line in lines:
        shutil.copy(chapter / f"{line.split()[0]}.ogg", target)
    report = prepare(tmp_path, tmp_path / "out")
    assert report[0].utterances == 4
    utterances = read_manifest(tmp_path / "out" / "real.jsonl")
    assert [f"{item.id} {item.text}" for item in utterances] == lines
    assert all(1 < item.duration_seconds < 40 for item in utterances)


def publish(tmp_path: Path, name: str, inside: str | None = None) -> Path:
    tree = tmp_path / "tree" / "LibriSpeech"
    make_chapter(tree / name, "5", "6", ["ONE", "TWO"])
    (tree / "SPEAKERS.TXT").write_text("; speakers")
    archive = tmp_path / "www" / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=inside or "LibriSpeech")
    return archive


def test_download_unpacks_once(mirror: str, served: list[str], tmp_path: Path) -> None:
    publish(tmp_path, "dev-clean-2")
    root = tmp_path / "data"
    for _ in range(2):
        librispeech.download(root, splits=["dev-clean-2"], mirror=mirror, retries=QUICK)
    assert served == ["/dev-clean-2.tar.gz"]
    assert sorted(path.name for path in (root / "LibriSpeech").iterdir()) == [
        "SPEAKERS.TXT", "dev-clean-2",
    ]  # fmt: skip
    assert prepare(root, tmp_path / "out")[0].utterances == 2


def test_official_archive_must_have_its_digest(
    mirror: str, served: list[str], tmp_path: Path
) -> None:
    publish(tmp_path, "dev-clean")
    root = tmp_path / "data"
    with pytest.raises(DownloadError, match="expected sha256 76f87d09"):
        librispeech.download(root, splits=["dev-clean"], mirror=mirror, retries=QUICK)
    assert list((root / "LibriSpeech").iterdir()) == []
    shutil.copy(tmp_path / "www" / "dev-clean.tar.gz", root / "LibriSpeech")
    with pytest.raises(DownloadError, match="expected sha256 76f87d09"):
        librispeech.download(root, splits=["dev-clean"], mirror=mirror, retries=QUICK)
    assert len(served) == 1


def test_damaged_archive_leaves_nothing_behind(mirror: str, tmp_path: Path) -> None:
    archive = publish(tmp_path, "dev-clean-2")
    archive.write_bytes(archive.read_bytes()[:-200])
    corpus = tmp_path / "LibriSpeech"
    with pytest.raises(ArchiveError, match="expected an intact archive"):
        librispeech.download(corpus, splits=["dev-clean-2"], mirror=mirror, retries=QUICK)
    assert list(corpus.iterdir()) == []


def test_archive_of_something_else_is_refused(mirror: str, tmp_path: Path) -> None:
    publish(tmp_path, "dev-clean-2", inside="SomethingElse")
    corpus = tmp_path / "LibriSpeech"
    with pytest.raises(ArchiveError, match="expected the split LibriSpeech/dev-clean-2"):
        librispeech.download(corpus, splits=["dev-clean-2"], mirror=mirror, retries=QUICK)
    assert list(corpus.iterdir()) == []


def test_half_unpacked_split_of_a_killed_run_is_replaced(mirror: str, tmp_path: Path) -> None:
    publish(tmp_path, "dev-clean-2")
    corpus = tmp_path / "LibriSpeech"
    left = make_chapter(
        corpus / ".dev-clean-2.part" / "LibriSpeech" / "dev-clean-2", "9", "9", ["X"]
    )
    librispeech.download(corpus, splits=["dev-clean-2"], mirror=mirror, retries=QUICK)
    assert not left.exists()
    assert [path.name for path in (corpus / "dev-clean-2").iterdir()] == ["5"]


def test_unknown_split_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected splits among dev-clean, .*found my-own"):
        librispeech.download(tmp_path, splits=["my-own"])


def test_all_official_parts_have_a_digest() -> None:
    official = {name for name, item in librispeech.ARCHIVES.items() if item.sha256}
    assert official == {
        "dev-clean", "dev-other", "test-clean", "test-other",
        "train-clean-100", "train-clean-360", "train-other-500",
    }  # fmt: skip
    assert librispeech.ARCHIVES.keys() - official == {"train-clean-5", "dev-clean-2"}
    assert all(len(item.sha256 or "0" * 64) == 64 for item in librispeech.ARCHIVES.values())


def test_digests_are_those_of_torchaudio() -> None:
    from torchaudio.datasets.librispeech import _CHECKSUMS

    for url, digest in _CHECKSUMS.items():
        archive = librispeech.ARCHIVES[url.rsplit("/", 1)[1].removesuffix(".tar.gz")]
        assert archive.sha256 == digest
        assert url.startswith(archive.base_url)
