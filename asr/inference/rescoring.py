"""Acoustic rescoring: log-probabilities of given texts of recordings under a recogniser's CTC."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.ctc import ctc_losses
from asr.inference.acoustic_model import AcousticModel
from asr.inference.audio_input import (
    AudioInput,
    duration_seconds,
    plan_batches,
    read_batches,
    read_input_blocks,
)
from asr.inference.long_recordings import AudioWindow, LongformConfig, cut_recording
from asr.tokens.tokenizer import Tokenizer

IMPOSSIBLE = -1e9
"""Log-probability of a text that cannot be spelled, or has more labels than there are frames."""
# Texts scored at once: each has a copy of the recording's log-probabilities.
_TEXTS = 16


@dataclass(frozen=True, kw_only=True)
class RescoredTexts:
    """Scores of the texts of one recording.

    Args:
        index: Place among the recordings.
        log_probs: Natural log-probability of each text, `IMPOSSIBLE` at the least.
        error: Why there are none; None where there are some.
    """

    index: int
    log_probs: tuple[float, ...] = ()
    error: OSError | ValueError | None = None


def text_log_probs(
    inputs: Sequence[AudioInput],
    texts: Sequence[Sequence[str]],
    *,
    acoustic_model: AcousticModel,
    tokenizer: Tokenizer,
    batch_seconds: float,
    longform: LongformConfig | None = None,
) -> Iterator[RescoredTexts]:
    """Score texts of recordings by a recogniser's CTC, summed over alignments.

    Recordings go through the acoustic model in batches, each failing for itself.

    Args:
        inputs: The recordings.
        texts: Those of each recording, normalised.
        acoustic_model: Waveforms to log-posteriors.
        tokenizer: Text to labels.
        batch_seconds: Most audio in a batch, padding included.
        longform: How long audio is cut.

    Yields:
        The scores of each recording or why it cannot be used, as soon as they are known, long
        recordings first.

    Source: Graves et al. 2006, section 4.1.
    """
    config = longform or LongformConfig()
    seconds: dict[int, float] = {}
    for index, item in enumerate(inputs):
        try:
            seconds[index] = duration_seconds(item)
        except (OSError, ValueError) as error:
            yield RescoredTexts(index=index, error=error)
    short = [(index, length) for index, length in seconds.items() if length <= config.limit_seconds]
    long = [(index, length) for index, length in seconds.items() if length > config.limit_seconds]
    for index, length in long:
        found = _long_log_probs(
            inputs[index], acoustic_model, config, length, batch_seconds=batch_seconds
        )
        if isinstance(found, Tensor):
            yield RescoredTexts(index=index, log_probs=_scores(found, texts[index], tokenizer))
        else:
            yield RescoredTexts(index=index, error=found)
    batches = plan_batches(short, batch_seconds)
    for batch in read_batches(inputs, batches, sample_rate_hz=acoustic_model.sample_rate_hz):
        waveforms: dict[int, Tensor] = {}
        for read in batch:
            if isinstance(read.samples, Tensor):
                waveforms[read.index] = read.samples
            else:
                yield RescoredTexts(index=read.index, error=read.samples)
        found_of = _log_probs(acoustic_model, list(waveforms.values()))
        for index, log_probs in zip(waveforms, found_of, strict=True):
            yield RescoredTexts(index=index, log_probs=_scores(log_probs, texts[index], tokenizer))


def _log_probs(model: AcousticModel, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """Log-posteriors (time, vocab) of each waveform of a batch, on the CPU."""
    if not waveforms:
        return []
    posteriors = model.posteriors(waveforms)
    return [
        log_probs[:frames]
        for log_probs, frames in zip(
            posteriors.log_probs.cpu(), posteriors.lengths.tolist(), strict=True
        )
    ]


def _long_log_probs(
    item: AudioInput,
    model: AcousticModel,
    config: LongformConfig,
    seconds: float,
    *,
    batch_seconds: float,
) -> Tensor | OSError | ValueError:
    """Log-posteriors (time, vocab) of a recording in windows, or why it cannot be read."""
    blocks = read_input_blocks(item, sample_rate_hz=model.sample_rate_hz)
    windows = cut_recording(blocks, config, model, seconds=seconds)
    windows_in_batch = max(1, int(batch_seconds // config.window_seconds))
    parts: list[Tensor] = []
    while True:
        # What the model raises is no fault of the recording.
        try:
            batch: list[AudioWindow] = list(islice(windows, windows_in_batch))
        except (OSError, ValueError) as error:
            return error
        if not batch:
            return torch.cat(parts)
        found = _log_probs(model, [window.samples for window in batch])
        for window, log_probs in zip(batch, found, strict=True):
            parts.append(log_probs[window.kept(len(log_probs))])


def _scores(log_probs: Tensor, texts: Sequence[str], tokenizer: Tokenizer) -> tuple[float, ...]:
    """Scores of texts under log-posteriors (time, vocab)."""
    if not len(log_probs):
        return tuple(IMPOSSIBLE if text else 0.0 for text in texts)
    labels = [
        None if tokenizer.unknown_characters(text) else tokenizer.encode(text) for text in texts
    ]
    scores: list[float] = []
    for first in range(0, len(labels), _TEXTS):
        scores += _label_scores(log_probs, labels[first : first + _TEXTS])
    return tuple(scores)


def _label_scores(log_probs: Tensor, labels: Sequence[list[int] | None]) -> list[float]:
    """Scores of some texts, None for one that cannot be spelled."""
    spelled = [torch.tensor(each or [], dtype=torch.int64) for each in labels]
    losses = ctc_losses(
        log_probs.expand(len(labels), -1, -1),
        torch.full((len(labels),), len(log_probs)),
        pad_sequence(spelled, batch_first=True),
        torch.tensor([len(each) for each in spelled]),
    )
    return [
        IMPOSSIBLE if each is None else score
        for each, score in zip(labels, (-losses).clamp(min=IMPOSSIBLE).tolist(), strict=True)
    ]
