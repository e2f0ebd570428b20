"""The synthetic corpus on disk: layout, determinism, and what happens to half a corpus."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asr.cli.prepare import app
from asr.data.corpora.synthetic.corpus import SyntheticSummary, generate
from asr.data.manifest import read_manifest

pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")

SMALL: dict[str, Any] = {"train_seconds": 20.0, "dev_seconds": 4.0, "test_seconds": 8.0}


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SyntheticSummary:
    return generate(tmp_path_factory.mktemp("corpus"), **SMALL, jobs=1)


def transcripts(root: Path) -> dict[str, str]:
    lines = [
        line
        for path in sorted(root.rglob("*.trans.txt"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return dict(line.split(" ", 1) for line in lines)


def test_layout_is_that_of_librispeech(corpus: SyntheticSummary) -> None:
    root = corpus.root / "LibriSpeech"
    for path in root.rglob("*.flac"):
        speaker, chapter, number = path.stem.split("-")
        assert speaker.isdigit()
        assert chapter.isdigit()
        assert len(number) == 4
        assert path.parent == root / path.relative_to(root).parts[0] / speaker / chapter
        assert (path.parent / f"{speaker}-{chapter}.trans.txt").is_file()
    assert set(transcripts(root)) == {path.stem for path in root.rglob("*.flac")}
    assert sorted(path.name for path in root.iterdir()) == [
        "README.TXT",
        "SPEAKERS.TXT",
        "synthetic-dev",
        "synthetic-test",
        "synthetic-train",
        "synthetic.json",
    ]


def test_audio_is_16_khz_mono_16_bit_without_clipping(corpus: SyntheticSummary) -> None:
    for path in (corpus.root / "LibriSpeech").rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        samples, _ = soundfile.read(path)
        assert 1.0 < info.duration < 6.0
        assert np.max(np.abs(samples)) < 0.91
        assert -33 < 10 * np.log10(np.mean(samples**2)) < -19


def test_summary_counts_what_is_on_disk(corpus: SyntheticSummary) -> None:
    assert corpus.made
    assert list(corpus.splits) == ["synthetic-train", "synthetic-dev", "synthetic-test"]
    for (name, split), least_seconds in zip(corpus.splits.items(), SMALL.values(), strict=True):
        files = list((corpus.root / "LibriSpeech" / name).rglob("*.flac"))
        seconds = sum(soundfile.info(path).duration for path in files)
        assert split.utterances == len(files)
        assert split.seconds == pytest.approx(seconds, abs=0.02)
        assert least_seconds <= split.seconds < least_seconds + 6
        assert len(split.voices) == len({path.parent.parent.name for path in files})


def test_word_times_follow_the_speech(corpus: SyntheticSummary) -> None:
    root = corpus.root / "LibriSpeech"
    texts = transcripts(root)
    for path in root.rglob("*.words.tsv"):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        for key in {row[0] for row in rows}:
            own = [row for row in rows if row[0] == key]
            starts = [float(row[2]) for row in own]
            ends = [float(row[3]) for row in own]
            samples, _ = soundfile.read(path.parent / f"{key}.flac")
            assert " ".join(row[1] for row in own) == texts[key]
            assert starts[1:] == ends[:-1]
            assert all(start < end for start, end in zip(starts, ends, strict=True))
            assert ends[-1] < len(samples) / 16000
            spoken = samples[round(starts[0] * 16000) : round(ends[-1] * 16000)]
            before = samples[: round(starts[0] * 16000)]
            assert np.mean(spoken**2) > 10 * np.mean(before**2)


def test_it_says_that_it_is_synthetic(corpus: SyntheticSummary) -> None:
    root = corpus.root / "LibriSpeech"
    assert "SYNTHETIC" in (root / "README.TXT").read_text(encoding="utf-8")
    speakers = (root / "SPEAKERS.TXT").read_text(encoding="utf-8")
    assert "1001 | M | synthetic-train  |" in speakers
    assert "espeak-ng en-us" in speakers


def test_files_depend_on_the_seed_and_not_on_the_jobs(
    corpus: SyntheticSummary, tmp_path: Path
) -> None:
    again = generate(tmp_path / "again", **SMALL, jobs=3)
    assert digests(again.root) == digests(corpus.root)
    other = generate(tmp_path / "other", **SMALL, seed=1, jobs=2)
    assert set(transcripts(other.root).values()).isdisjoint(transcripts(corpus.root).values())


def test_a_finished_corpus_is_kept_and_a_damaged_one_remade(tmp_path: Path) -> None:
    small: dict[str, Any] = {"train_seconds": 2.0, "dev_seconds": 1.0, "test_seconds": 1.0}
    first = generate(tmp_path, **small, jobs=1)
    whole = digests(tmp_path)
    marker = tmp_path / "LibriSpeech" / "synthetic.json"
    changed_ns = marker.stat().st_mtime_ns
    second = generate(tmp_path, **small, jobs=1)
    assert not second.made
    assert second.splits == first.splits
    assert marker.stat().st_mtime_ns == changed_ns

    next(tmp_path.rglob("*.flac")).unlink()
    (tmp_path / "LibriSpeech.part").mkdir()
    (tmp_path / "LibriSpeech.part" / "rest").touch()
    assert generate(tmp_path, **small, jobs=1).made
    assert digests(tmp_path) == whole

    marker.write_text('{"settings": ', encoding="utf-8")
    assert generate(tmp_path, **small, seed=1, jobs=1).made
    assert digests(tmp_path) != whole


def test_two_at_once_make_one_corpus(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        both = list(threads.map(lambda _: generate(tmp_path, **SMALL, jobs=1), range(2)))
    assert sorted(one.made for one in both) == [False, True]
    assert both[0].splits == both[1].splits


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("expected space on the disk, found none")

    monkeypatch.setattr(soundfile, "write", fail)
    with pytest.raises(OSError, match="space"):
        generate(tmp_path, **SMALL, jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_anothers_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech" / "train-clean-5").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="train-clean-5"):
        generate(tmp_path, **SMALL, jobs=1)
    assert (tmp_path / "LibriSpeech" / "train-clean-5").is_dir()


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"dev_seconds": 0.0}, {"test_seconds": float("inf")}]
)
def test_settings_must_be_positive(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive seconds"):
        generate(tmp_path, **wrong)


def test_command_prints_what_was_made_and_that_it_is_synthetic(
    corpus: SyntheticSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def make(root: Path, **settings: Any) -> SyntheticSummary:  # noqa: ANN401 - passed on
        asked.append({**settings, "root": root})
        return corpus

    monkeypatch.setattr("asr.data.corpora.synthetic.corpus.generate", make)
    command = ["synthetic", "--root", str(corpus.root), "--seed", "3", "--jobs", "2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert asked == [{"root": corpus.root, "seed": 3, "jobs": 2}]
    train = corpus.splits["synthetic-train"]
    counted = f"{train.utterances} utterances, {train.seconds / 60:.1f} minutes, 8 voices"
    assert f"synthetic-train: {counted}" in result.output
    assert "This speech is synthetic" in result.output

    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path)])
    assert result.exit_code == 0
    for name, split in corpus.splits.items():
        assert f"{tmp_path / name}.jsonl: {split.utterances} utterances" in result.output
        assert len(read_manifest(tmp_path / f"{name}.jsonl")) == split.utterances
