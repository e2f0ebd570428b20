"""Speech synthesis of planned utterances by espeak-ng, in processes of its own."""

import importlib.metadata
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asr.data.corpora.synthetic.plan import PlannedUtterance
from asr.tokens.espeak import PACKAGE, require_espeak, run_espeak

ENGINE_RATE_HZ = 22050
_SAMPLE_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class SpokenUtterance:
    """One utterance as espeak-ng spoke it, without quiet, noise or room.

    Args:
        plan: What was to be spoken.
        pcm: File of 16-bit mono samples at ENGINE_RATE_HZ.
        length_samples: Samples in the file.
        words: [start, end) of each word in samples of the file.
    """

    plan: PlannedUtterance
    pcm: Path
    length_samples: int
    words: tuple[tuple[int, int], ...]

    @property
    def duration_seconds(self) -> float:
        """Length with the quiet before and after it."""
        spoken_seconds = self.length_samples / ENGINE_RATE_HZ
        return self.plan.lead_seconds + spoken_seconds + self.plan.tail_seconds


def engine_version() -> str:
    """Version of the installed engine.

    Raises:
        FileNotFoundError: The package is not installed.
        OSError: The operating system cannot fork a process.
    """
    require_espeak("the synthetic corpus")
    if not hasattr(os, "fork"):
        raise OSError(
            f"expected a system with os.fork for the synthetic corpus, found {sys.platform}; "
            "make the corpus on Linux or macOS"
        )
    return importlib.metadata.version(PACKAGE)


def speak(planned: Sequence[PlannedUtterance], folder: Path, *, jobs: int) -> list[SpokenUtterance]:
    """Speak utterances, each independent of the others and of the number of processes.

    Args:
        planned: What to speak.
        folder: An existing folder for the samples.
        jobs: Processes at a time.

    Returns:
        The utterances in the given order.

    Raises:
        ChildProcessError: espeak-ng failed; the message ends with what it said.
    """
    shares = [list(planned[start::jobs]) for start in range(min(jobs, len(planned)))]
    with ThreadPoolExecutor(jobs) as threads:
        spoken = [
            s for share in threads.map(lambda s: _run_engine(s, folder), shares) for s in share
        ]
    return sorted(spoken, key=lambda utterance: utterance.plan.number)


def _run_engine(share: list[PlannedUtterance], folder: Path) -> list[SpokenUtterance]:
    paths = [folder / f"{utterance.id}.pcm" for utterance in share]
    lines = [json.dumps(_job(*item)) + "\n" for item in zip(share, paths, strict=True)]
    printed = run_espeak(
        Path(__file__).with_name("espeak_speech.py"),
        "".join(lines),
        task=f"speak {len(share)} utterances",
    )
    answers = [json.loads(line) for line in printed.splitlines()]
    return [
        SpokenUtterance(
            plan=utterance,
            pcm=path,
            length_samples=path.stat().st_size // _SAMPLE_BYTES,
            words=tuple((start, end) for start, end in answer["words"]),
        )
        for utterance, path, answer in zip(share, paths, answers, strict=True)
    ]


def _job(utterance: PlannedUtterance, pcm: Path) -> dict[str, str | int]:
    return {
        "text": utterance.text,
        "voice": utterance.voice.name,
        "rate_words_per_minute": utterance.rate_words_per_minute,
        "pitch": utterance.pitch,
        "pitch_range": utterance.pitch_range,
        "seed": utterance.number + 1,
        "pcm": str(pcm.absolute()),
    }
