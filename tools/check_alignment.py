"""Compare word times with those of synthetic speech, which are known.

    python tools/check_alignment.py EXP MANIFEST [--join N] [--device cpu]

MANIFEST lists utterances of the synthetic corpus, whose folders hold their word times (.words.tsv).
Prints how far the times of forced alignment, and of greedy decoding and beam search where their
text is right, are off. With --join, N utterances at a time are joined with pauses of 0.3 to 1.5 s
of quiet noise, so that words also end in pauses. Exit status 1 if the starts or ends of forced
alignment are off by more than 60 ms on average.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.ctc import BeamConfig, BeamSearch
from asr.data.manifest import Utterance, read_manifest
from asr.inference.alignment import Aligner
from asr.inference.audio_input import read_input
from asr.recognizer import Recognizer, load
from asr.transcripts.hypothesis import Hypothesis

_MOST_MILLISECONDS = 60.0
_PAUSE_SECONDS = (0.3, 1.5)
_QUIET_SECONDS = 0.05
_BEAM_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Speech whose word times are known.

    Args:
        samples: (sample,) waveform.
        text: The words.
        times_seconds: (word, 2) start and end of each.
    """

    samples: NDArray[np.float32]
    text: str
    times_seconds: NDArray[np.float64]


def read_times(utterance: Utterance) -> NDArray[np.float64]:
    """Times (word, 2) of an utterance in seconds.

    Raises:
        ValueError: There are none beside the audio, or not one for each word.
    """
    files = sorted(utterance.audio_filepath.parent.glob("*.words.tsv"))
    rows = [line.split("\t") for file in files for line in file.read_text("utf-8").splitlines()]
    own = [row for row in rows if row[0] == utterance.id]
    if [row[1] for row in own] != (utterance.text or "").split():
        raise ValueError(
            f"expected word times of {utterance.id} in a .words.tsv beside its audio, found "
            f"{len(own)}; give a manifest of the synthetic corpus"
        )
    return np.array([[float(row[2]), float(row[3])] for row in own])


def join(
    utterances: Sequence[Utterance], *, rate_hz: int, generator: np.random.Generator
) -> Recording:
    """One recording of these utterances; between two of them is a pause."""
    parts: list[NDArray[np.float32]] = []
    times = []
    for utterance in utterances:
        samples = read_input(utterance, sample_rate_hz=rate_hz).numpy()
        if parts:
            length = int(generator.uniform(*_PAUSE_SECONDS) * rate_hz)
            level = samples[: int(_QUIET_SECONDS * rate_hz)].std()
            parts.append((level * generator.standard_normal(length)).astype(np.float32))
        times.append(read_times(utterance) + sum(map(len, parts)) / rate_hz)
        parts.append(samples)
    return Recording(
        samples=np.concatenate(parts),
        text=" ".join(utterance.text or "" for utterance in utterances),
        times_seconds=np.concatenate(times),
    )


def errors_milliseconds(
    recordings: Sequence[Recording], found: Sequence[Hypothesis]
) -> NDArray[np.float64]:
    """Errors (word, 2) of starts and ends, of the recordings whose text was found."""
    errors = [np.empty((0, 2))]
    for recording, hypothesis in zip(recordings, found, strict=True):
        if hypothesis.text == recording.text:
            times = [(word.start_seconds, word.end_seconds) for word in hypothesis.words]
            errors.append(1000 * (np.array(times) - recording.times_seconds))
    return np.concatenate(errors)


def report(name: str, errors: NDArray[np.float64]) -> None:
    """Print a line for starts and one for ends."""
    for place, edge in enumerate(("starts", "ends")):
        signed = errors[:, place]
        off = np.abs(signed)
        print(
            f"{name:8} {edge:6} {len(off):6} words: mean absolute error {off.mean():6.1f} ms, "
            f"median {np.median(off):6.1f} ms, bias {signed.mean():+6.1f} ms, "
            f"within 50 ms {np.mean(off <= 50):.1%}, within 100 ms {np.mean(off <= 100):.1%}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("exp", type=Path, help="experiment folder")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--join", type=int, default=1, help="utterances in a recording")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    recognizer = load(arguments.exp, device=arguments.device)
    rate_hz = recognizer.acoustic_model.sample_rate_hz
    generator = np.random.default_rng(arguments.seed)
    utterances = read_manifest(arguments.manifest)
    recordings = [
        join(utterances[start : start + arguments.join], rate_hz=rate_hz, generator=generator)
        for start in range(0, len(utterances), arguments.join)
    ]
    aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer)
    aligned = [
        aligner.align((recording.samples, rate_hz), recording.text) for recording in recordings
    ]
    errors = errors_milliseconds(recordings, aligned)
    report("aligned", errors)
    beam = Recognizer(
        recognizer.acoustic_model,
        recognizer.tokenizer,
        decoder=BeamSearch(BeamConfig(beam_size=_BEAM_SIZE)),
    )
    inputs = [(recording.samples, rate_hz) for recording in recordings]
    for name, decoding in (("greedy", recognizer), ("beam", beam)):
        report(name, errors_milliseconds(recordings, decoding.transcribe(inputs)))
    return int(np.abs(errors).mean(axis=0).max() > _MOST_MILLISECONDS)


if __name__ == "__main__":
    sys.exit(main())
