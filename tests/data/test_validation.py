from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import read_manifest
from asr.data.validation import BrokenItem, Candidate, Candidates, write_validated_manifest


def make_candidates(folder: Path) -> Candidates:
    good = []
    for index in range(6):
        path = folder / f"u{index}.flac"
        soundfile.write(path, np.full(1600 * (index + 1), 0.1), 16000)
        good.append(
            Candidate(
                id=f"u{index}",
                audio_filepath=path,
                text="" if index == 2 else f"WORD {index}",
                speaker=f"s{index % 2}",
            )
        )
    return Candidates(good=good, broken=[])


@pytest.mark.parametrize("jobs", [1, 3])
def test_sound_items_become_a_manifest_in_order(tmp_path: Path, jobs: int) -> None:
    seen: list[tuple[str, int, int]] = []
    report = write_validated_manifest(
        make_candidates(tmp_path),
        tmp_path / "out",
        name="part",
        skip_broken=False,
        jobs=jobs,
        progress=lambda name, done, total: seen.append((name, done, total)),
    )
    assert report.manifest == tmp_path / "out" / "part.jsonl"
    assert (report.utterances, report.speakers, report.empty_transcripts) == (6, 2, 1)
    assert report.duration_seconds == pytest.approx(2.1)
    utterances = read_manifest(report.manifest)
    assert [item.id for item in utterances] == [f"u{index}" for index in range(6)]
    assert utterances[3].duration_seconds == pytest.approx(0.4)
    assert utterances[2].text == ""
    assert seen == [("part", done, 6) for done in range(1, 7)]


def test_broken_items_prevent_the_manifest_or_are_listed(tmp_path: Path) -> None:
    candidates = make_candidates(tmp_path)
    (tmp_path / "u1.flac").write_text("no audio")
    (tmp_path / "u4.flac").unlink()
    again = Candidate(id="u0", audio_filepath=tmp_path / "u5.flac", text="AGAIN")
    candidates = Candidates(
        good=[*candidates.good, again], broken=[BrokenItem(id="a", reason="a: no transcript")]
    )
    out = tmp_path / "out"
    report = write_validated_manifest(candidates, out, name="part", skip_broken=False, jobs=2)
    assert report.manifest is None
    assert not out.exists()
    assert [item.id for item in report.broken] == ["a", "u0", "u1", "u4"]
    assert "u5.flac: expected a unique id, found 'u0' also for" in report.broken[1].reason
    report = write_validated_manifest(candidates, out, name="part", skip_broken=True, jobs=2)
    assert report.manifest is not None
    assert [item.id for item in read_manifest(report.manifest)] == ["u0", "u2", "u3", "u5"]
    listed = (out / "part.broken.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == ["a", "u0", "u1", "u4"]
    sound = Candidates(good=[candidates.good[0]], broken=[])
    write_validated_manifest(sound, out, name="part", skip_broken=True, jobs=1)
    assert not (out / "part.broken.txt").exists()


def test_nothing_good_is_no_manifest(tmp_path: Path) -> None:
    candidates = Candidates(good=[], broken=[BrokenItem(id="a", reason="a: no transcript")])
    report = write_validated_manifest(candidates, tmp_path, name="p", skip_broken=True, jobs=1)
    assert report.manifest is None
    assert list(tmp_path.iterdir()) == []


def test_jobs_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one job, found 0"):
        write_validated_manifest(
            make_candidates(tmp_path), tmp_path, name="p", skip_broken=False, jobs=0
        )
