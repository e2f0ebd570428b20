"""The log-posteriors of one recording of any length, joined from its windows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.decoding.acoustic_model import AcousticModel
from asr.decoding.audio_input import AudioInput, duration_seconds, read_input_blocks
from asr.decoding.long_recordings import cut_recording
from asr.decoding.longform import CountedBlocks, LongformConfig


@dataclass(frozen=True, kw_only=True)
class RecordingPosteriors:
    """What a recogniser hears in a recording.

    Args:
        log_probs: (time, vocab) float32 on the CPU, natural logarithm.
        duration_seconds: Length of the audio that was read.
    """

    log_probs: Tensor
    duration_seconds: float


def recording_posteriors(
    item: AudioInput, model: AcousticModel, config: LongformConfig
) -> RecordingPosteriors:
    """Compute log-posteriors; the audio is held in stretches.

    Args:
        item: The recording.
        model: What hears.
        config: How long audio is cut.

    Returns:
        The log-posteriors, 4 bytes a frame and label.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The recording cannot be used.
    """
    blocks = CountedBlocks(read_input_blocks(item, sample_rate_hz=model.sample_rate_hz))
    parts = []
    for window in cut_recording(blocks, config, model, seconds=duration_seconds(item)):
        posteriors = model.posteriors([window.samples])
        frames = int(posteriors.lengths)
        parts.append(posteriors.log_probs[0, :frames][window.kept(frames)].cpu())
    return RecordingPosteriors(
        log_probs=torch.cat(parts), duration_seconds=blocks.samples / model.sample_rate_hz
    )
