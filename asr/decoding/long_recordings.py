"""The ways to decode a long recording: windows, one pass, or cuts in pauses."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from asr.decoding.acoustic_model import AcousticModel
from asr.decoding.longform import LongformConfig, LongformMethod, Window, cut_windows
from asr.decoding.voice_activity import SileroDetector, cut_at_pauses
from asr.model.attention import Attention
from asr.model.attention.engine import SCORES_AT_ONCE

_FLOAT_BYTES = 4
# What lives at once at the peak of one pass, measured over all encoders and mechanisms.
_FLOATS_PER_WIDTH = 40
_FLOATS_PER_LABEL = 2
_FLOATS_PER_FEATURE = 4
_COPIES_OF_SCORES = 5
_SLICES_BYTES = 64 << 20


def cut_recording(
    blocks: Iterable[Tensor],
    config: LongformConfig,
    acoustic_model: AcousticModel,
    *,
    seconds: float,
) -> Iterator[Window]:
    """Cut a recording that arrives in blocks as the config says; a short one is one window.

    Args:
        blocks: (sample,) consecutive stretches of any length.
        config: How.
        acoustic_model: What the windows are for.
        seconds: Length of the recording.

    Yields:
        The windows in order.

    Raises:
        FileNotFoundError: Pauses are to be found without the extra `vad`.
        ValueError: One pass would need too much memory, or there is no detector of pauses for the
            sample rate.
    """
    method = config.method if seconds > config.limit_seconds else "windows"
    yield from _METHODS[method](blocks, config, acoustic_model, seconds)


def pass_bytes(acoustic_model: AcousticModel, frames: int) -> int:
    """About the most bytes that one pass over so many encoder frames needs beside the audio.

    Without gradients attention holds no more than a slice of its scores at once, so that memory
    grows linearly in the end, whatever the mechanism.
    """
    model = acoustic_model.model
    floats = (
        _FLOATS_PER_WIDTH * model.encoder.config.width
        + _FLOATS_PER_LABEL * model.head.projection.out_features
        + _FLOATS_PER_FEATURE * model.subsampling_factor * acoustic_model.extractor.config.mel_bins
    )
    scores = 0
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    if any(each.capabilities.memory == "T^2" for each in attentions):
        all_scores = model.encoder.config.heads * frames * frames
        scores = _COPIES_OF_SCORES * min(all_scores, SCORES_AT_ONCE)
    return _FLOAT_BYTES * (frames * floats + scores) + _SLICES_BYTES


def _windows(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[Window]:
    return cut_windows(
        blocks, config, rate_hz=model.sample_rate_hz, frame_samples=model.frame_samples
    )


def _whole(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[Window]:
    frames = model.output_frames(int(seconds * model.sample_rate_hz))
    needed = pass_bytes(model, frames)
    if needed > config.memory_bytes:
        raise ValueError(
            f"expected one pass to need at most {config.memory_bytes} bytes, found about {needed} "
            f"for {frames} encoder frames ({seconds:.0f} s); cut the recording into windows or at "
            "pauses"
        )
    samples = torch.cat([torch.empty(0), *blocks])
    yield Window(samples=samples, first_frame=0, stop_frame=None)


def _pauses(
    blocks: Iterable[Tensor], config: LongformConfig, model: AcousticModel, seconds: float
) -> Iterator[Window]:
    return cut_at_pauses(
        blocks,
        config,
        SileroDetector(rate_hz=model.sample_rate_hz),
        rate_hz=model.sample_rate_hz,
        frame_samples=model.frame_samples,
        lookahead_samples=model.lookahead_samples,
    )


_Cut = Callable[[Iterable[Tensor], LongformConfig, AcousticModel, float], Iterator[Window]]
_METHODS: Mapping[LongformMethod, _Cut] = {
    "windows": _windows,
    "whole": _whole,
    "pauses": _pauses,
}
