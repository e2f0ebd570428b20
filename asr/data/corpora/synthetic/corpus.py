"""Generation of the synthetic corpus in the layout of LibriSpeech, all of it or none of it."""

import itertools
import json
import logging
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from asr.data.corpora.synthetic.effects import SAMPLE_RATE_HZ, record
from asr.data.corpora.synthetic.plan import plan
from asr.data.corpora.synthetic.speech import ENGINE_RATE_HZ, SpokenUtterance, engine_version, speak
from asr.data.corpora.synthetic.voices import SPLITS, VOICES, Split

_log = logging.getLogger(__name__)

_VERSION = 1
"""Raised whenever the same settings give other files."""
_MARKER = "synthetic.json"
_BATCH_SECONDS_PER_UTTERANCE = 3.0
_README = """This speech is SYNTHETIC.

No human being speaks here. The sentences come from a small grammar, and espeak-ng, a formant
synthesiser, speaks them; noise and reverberation are computed. The folders have LibriSpeech's
layout so that one reader serves both, but nothing here is from LibriSpeech. An error rate measured
here shows that a recogniser learns and decodes; it says nothing about real speech.

Made by Attune (asr prepare synthetic). Each chapter has a .words.tsv with the start and end of each
word as espeak-ng reports them: id, word, start in seconds, end in seconds.
"""


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What one part of the corpus holds.

    Args:
        utterances: Number of audio files.
        seconds: Audio seconds together.
        voices: Voices that speak in it, as espeak-ng names them.
    """

    utterances: int
    seconds: float
    voices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SyntheticSummary:
    """What the corpus holds.

    Args:
        root: Folder that contains LibriSpeech.
        splits: By folder name below LibriSpeech: synthetic-train, synthetic-dev, synthetic-test.
        made: False where a finished corpus of the same settings was there already.
    """

    root: Path
    splits: dict[str, SplitSummary]
    made: bool


def generate(
    root: Path,
    *,
    seed: int = 0,
    train_seconds: float = 2400.0,
    dev_seconds: float = 300.0,
    test_seconds: float = 960.0,
    jobs: int | None = None,
) -> SyntheticSummary:
    """Make the corpus in ROOT/LibriSpeech, or find it finished.

    The files depend on the seed and the seconds alone. They are made in ROOT/LibriSpeech.part and
    put in place by one rename, so that ROOT/LibriSpeech is never half a corpus; one of
    other settings, or with audio missing, is replaced.

    Args:
        root: Folder to hold LibriSpeech; made where it does not exist.
        seed: Seed of sentences, manner of speaking, rooms and noise.
        train_seconds: Least audio of synthetic-train.
        dev_seconds: Least audio of synthetic-dev.
        test_seconds: Least audio of synthetic-test.
        jobs: Processes at a time; None for one a core.

    Returns:
        What the corpus holds.

    Raises:
        FileNotFoundError: espeakng-loader is not installed.
        FileExistsError: ROOT/LibriSpeech holds something that is not this corpus.
        ValueError: Seconds or jobs are not positive.
        OSError: espeak-ng failed, or the folder cannot be written.
    """
    jobs = jobs if jobs is not None else os.cpu_count() or 1
    seconds: dict[Split, float] = {"train": train_seconds, "dev": dev_seconds, "test": test_seconds}
    if jobs < 1 or not all(0 < value < math.inf for value in seconds.values()):
        raise ValueError(
            f"expected positive seconds and at least 1 job, found {seconds} and {jobs} jobs; "
            "give numbers above zero"
        )
    engine = engine_version()
    # Only where `engine_version` does not refuse: Windows has no such module.
    import fcntl

    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    try:
        # A second process waits here, and then finds the corpus finished.
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _generate(root, seed=seed, engine=engine, seconds=seconds, jobs=jobs)
    finally:
        os.close(folder)


def _generate(
    root: Path, *, seed: int, engine: str, seconds: dict[Split, float], jobs: int
) -> SyntheticSummary:
    settings: dict[str, object] = {"version": _VERSION, "seed": seed, "engine": engine}
    settings |= {f"{split}_seconds": value for split, value in seconds.items()}
    target, part = root / "LibriSpeech", root / "LibriSpeech.part"
    finished = _read_finished(target, settings)
    if finished is not None:
        _log.info("%s is finished", target)
        return SyntheticSummary(root=root, splits=finished, made=False)
    _refuse_foreign(target)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        summaries = _make(part, seed=seed, seconds=seconds, jobs=jobs)
        marker = {"settings": settings, "splits": {k: asdict(v) for k, v in summaries.items()}}
        (part / _MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return SyntheticSummary(root=root, splits=summaries, made=True)


def _read_finished(target: Path, settings: dict[str, object]) -> dict[str, SplitSummary] | None:
    """The parts of a finished corpus of these settings, None where there is none."""
    try:
        marker = json.loads((target / _MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if marker.get("settings") != settings:
        return None
    splits = {
        name: SplitSummary(**{**values, "voices": tuple(values["voices"])})
        for name, values in marker["splits"].items()
    }
    complete = all(
        sum(1 for _ in (target / name).rglob("*.flac")) == split.utterances
        for name, split in splits.items()
    )
    return splits if complete else None


def _refuse_foreign(target: Path) -> None:
    ours = {_MARKER, "README.TXT", "SPEAKERS.TXT", *(f"synthetic-{split}" for split in SPLITS)}
    foreign = sorted({path.name for path in target.iterdir()} - ours) if target.exists() else []
    if foreign:
        raise FileExistsError(
            f"expected {target} to be absent or a synthetic corpus, found {foreign[0]!r} in it; "
            "choose another folder"
        )


def _make(
    part: Path, *, seed: int, seconds: dict[Split, float], jobs: int
) -> dict[str, SplitSummary]:
    # Test and dev choose first, so that training gets what is left; all sentences are distinct.
    sentences: set[str] = set()
    summaries = {}
    speakers: dict[int, float] = defaultdict(float)
    for split in reversed(SPLITS):
        pcm = part / "pcm"
        pcm.mkdir()
        made = _speak_split(
            split, seed=seed, seconds=seconds[split], spoken=sentences, pcm=pcm, jobs=jobs
        )
        with ThreadPoolExecutor(jobs) as threads:
            list(threads.map(lambda utterance: _write_audio(utterance, part), made))
        _write_transcripts(made, part)
        shutil.rmtree(pcm)
        for utterance in made:
            speakers[utterance.plan.voice.speaker] += utterance.duration_seconds
        voices = dict.fromkeys(utterance.plan.voice.name for utterance in made)
        total_seconds = round(sum(utterance.duration_seconds for utterance in made), 2)
        summaries[f"synthetic-{split}"] = SplitSummary(
            utterances=len(made), seconds=total_seconds, voices=tuple(voices)
        )
        _log.info("synthetic-%s: %d utterances, %.0f seconds", split, len(made), total_seconds)
    (part / "README.TXT").write_text(_README, encoding="utf-8")
    _write_speakers(speakers, part)
    return {f"synthetic-{split}": summaries[f"synthetic-{split}"] for split in SPLITS}


def _speak_split(
    split: Split, *, seed: int, seconds: float, spoken: set[str], pcm: Path, jobs: int
) -> list[SpokenUtterance]:
    """The shortest beginning of the part's plan that has the seconds asked for."""
    planned = plan(split, seed=seed, spoken=spoken)
    made: list[SpokenUtterance] = []
    missing_seconds = seconds
    while missing_seconds > 0:
        size = math.ceil(missing_seconds / _BATCH_SECONDS_PER_UTTERANCE)
        for utterance in speak(list(itertools.islice(planned, size)), pcm, jobs=jobs):
            if missing_seconds > 0:
                made.append(utterance)
                missing_seconds -= utterance.duration_seconds
    return made


def _write_audio(utterance: SpokenUtterance, part: Path) -> None:
    plan = utterance.plan
    samples = record(
        np.fromfile(utterance.pcm, dtype=np.int16),
        rate_hz=ENGINE_RATE_HZ,
        lead_seconds=plan.lead_seconds,
        tail_seconds=plan.tail_seconds,
        generator=np.random.default_rng([plan.seed, SPLITS.index(plan.split), plan.number]),
    )
    folder = part / plan.folder
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{plan.id}.flac", samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def _write_transcripts(made: Sequence[SpokenUtterance], part: Path) -> None:
    """Write the transcripts and word times of each chapter."""
    chapters: dict[Path, list[SpokenUtterance]] = defaultdict(list)
    for utterance in made:
        chapters[utterance.plan.folder].append(utterance)
    for folder, utterances in chapters.items():
        stem = f"{folder.parent.name}-{folder.name}"
        transcripts = [f"{u.plan.id} {u.plan.text.upper()}\n" for u in utterances]
        (part / folder / f"{stem}.trans.txt").write_text("".join(transcripts), encoding="utf-8")
        words = [line for utterance in utterances for line in _word_lines(utterance)]
        (part / folder / f"{stem}.words.tsv").write_text("".join(words), encoding="utf-8")


def _word_lines(utterance: SpokenUtterance) -> list[str]:
    lead_seconds = utterance.plan.lead_seconds
    return [
        f"{utterance.plan.id}\t{word}\t{lead_seconds + start / ENGINE_RATE_HZ:.3f}"
        f"\t{lead_seconds + end / ENGINE_RATE_HZ:.3f}\n"
        for word, (start, end) in zip(
            utterance.plan.text.upper().split(), utterance.words, strict=True
        )
    ]


def _write_speakers(seconds_by_speaker: dict[int, float], part: Path) -> None:
    """Write SPEAKERS.TXT as LibriSpeech has it: id, sex, subset, minutes, name."""
    lines = [
        "; Synthetic voices of espeak-ng; no human being speaks here.\n",
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n",
    ]
    voices = [(split, voice) for split in SPLITS for voice in VOICES[split]]
    for split, voice in voices:
        if voice.speaker in seconds_by_speaker:
            subset, minutes = f"synthetic-{split}", seconds_by_speaker[voice.speaker] / 60
            lines.append(
                f"{voice.speaker:<4} | {voice.sex} | {subset:<16} | {minutes:5.2f} | espeak-ng "
                f"{voice.name}\n"
            )
    (part / "SPEAKERS.TXT").write_text("".join(lines), encoding="utf-8")
