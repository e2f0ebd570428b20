"""Word errors against length: utterances joined and decoded in one pass of the encoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from asr.data.manifest import Utterance
from asr.inference.audio_input import read_input
from asr.inference.long_recordings import LongformConfig
from asr.recognizer import Recognizer, load
from asr.scoring.counts import count_errors_batch

_SHORTEST_SHARE = 0.5


def joined_errors(
    exp: Path, references: Sequence[Utterance], *, seconds: float
) -> list[list[int]] | str:
    """Decode joined utterances.

    Args:
        exp: The experiment.
        references: Utterances with transcripts; neighbours are joined.
        seconds: Length that a recording reaches before the next one begins.

    Returns:
        Word errors and reference words of each recording, or why the model refuses that length.
    """
    recognizer = load(exp)
    longest = seconds + max(item.duration_seconds for item in references)
    one_pass = Recognizer(
        recognizer.acoustic_model,
        recognizer.tokenizer,
        longform=LongformConfig(limit_seconds=max(longest + 1.0, 30.0)),
    )
    errors = []
    for group in group_by_length(references, seconds=seconds):
        rate_hz = recognizer.acoustic_model.sample_rate_hz
        samples = torch.cat([read_input(item, sample_rate_hz=rate_hz) for item in group])
        try:
            [hypothesis] = one_pass.transcribe([(samples, rate_hz)], batch_seconds=longest)
        except ValueError as error:
            return str(error)
        text = " ".join(item.text or "" for item in group)
        [count] = count_errors_batch([text], [hypothesis.text], unit="word")
        errors.append([count.errors, count.reference_length])
    return errors


def group_by_length(
    utterances: Sequence[Utterance], *, seconds: float
) -> Iterator[list[Utterance]]:
    """Neighbours that together last at least `seconds`; a last group of under half is left out."""
    group: list[Utterance] = []
    total = 0.0
    for item in utterances:
        group.append(item)
        total += item.duration_seconds
        if total >= seconds:
            yield group
            group, total = [], 0.0
    if total >= _SHORTEST_SHARE * seconds:
        yield group
