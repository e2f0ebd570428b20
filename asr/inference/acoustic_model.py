"""Contract of an acoustic model: waveforms to log-posteriors, and the times of their frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from asr.model.attention import Mode
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.tokens import Decoded
from asr.transcripts.word_times import to_hypothesis


@dataclass(frozen=True, kw_only=True)
class Posteriors:
    """Log-posteriors of a batch.

    Args:
        log_probs: (batch, time, vocab) float32, natural logarithm; index 0 is the blank.
        lengths: (batch,) int64, encoder frames.
    """

    log_probs: Tensor
    lengths: Tensor


class AcousticModel(Protocol):
    """Waveforms to log-posteriors, one row of them for each encoder frame.

    Decoding, alignment and rescoring know no more of a model than this, so that an exported model
    can stand in the place of a torch module.
    """

    @property
    def device(self) -> torch.device:
        """Where log-posteriors lie."""
        ...

    @property
    def output_size(self) -> int:
        """Entries of a frame: the blank and the token pieces."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveforms."""
        ...

    @property
    def frame_samples(self) -> int:
        """Distance between encoder frames, in samples."""
        ...

    @property
    def frame_seconds(self) -> float:
        """Distance between encoder frames."""
        ...

    @property
    def frame_offset_seconds(self) -> float:
        """Start of the time that the first encoder frame stands for."""
        ...

    @property
    def lookahead_samples(self) -> int:
        """Samples after its own `frame_samples` that an encoder frame needs before it is known."""
        ...

    @property
    def mode(self) -> Mode:
        """Which frames a frame may attend to."""
        ...

    def output_frames(self, samples: int) -> int:
        """Encoder frames of a waveform of so many samples."""
        ...

    def pass_bytes(self, frames: int) -> int:
        """About the most bytes that one pass over so many encoder frames needs beside the audio."""
        ...

    def posteriors(self, waveforms: Sequence[Tensor]) -> Posteriors:
        """Find the probability of every label in every frame.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`; one too short for a frame
                has none.

        Returns:
            The log-posteriors, on the model's device.
        """
        ...

    def under(self, mode: Mode) -> "AcousticModel":
        """The same model in another mode.

        Raises:
            ValueError: The model does not serve it.
        """
        ...

    def chunked_model(self) -> "ChunkedModel":
        """The model of streams, in this chunked mode.

        Raises:
            ValueError: The mode is another one, or the model cannot stream.
        """
        ...


class ChunkedModel(Protocol):
    """An acoustic model for a batch of streams that advance together, chunk by chunk.

    It gives the frames that `AcousticModel.posteriors` gives for the whole.
    """

    @property
    def window_samples(self) -> int:
        """Fewest samples that a stream's end is worth a step for."""
        ...

    def used_samples(self, *, first: bool) -> int:
        """Samples from the first one of this chunk to the first one of the next.

        Args:
            first: Whether the streams begin.
        """
        ...

    def needed_samples(self, *, first: bool) -> int:
        """Samples from its first one on that a whole chunk needs."""
        ...

    # What the state is, the model alone knows.
    def step(
        self,
        waveforms: Sequence[Tensor],
        state: Any,  # noqa: ANN401
    ) -> tuple[Posteriors, Any]:
        """Take up the next chunk.

        Args:
            waveforms: Tensors (sample,) of float32, one a stream, from the chunk's first sample on:
                `needed_samples` of a whole chunk, fewer where the stream ends in it, none after
                that. One whole chunk is among them, or the batch ends.
            state: What the previous step returned; None at the start.

        Returns:
            The chunk's log-posteriors and the state.
        """
        ...


def to_hypotheses(
    decoded: Sequence[Decoded],
    samples: Sequence[int],
    *,
    acoustic_model: AcousticModel,
    tokenizer: Tokenizer,
) -> list[Hypothesis]:
    """Hypotheses with word times from a decoder's tokens, for whole recordings.

    Args:
        decoded: One for each recording.
        samples: Length of each recording at the acoustic model's rate.
        acoustic_model: Gives the times of frames.
        tokenizer: Gives the text of labels.

    Returns:
        One hypothesis a recording.
    """
    return [
        to_hypothesis(
            item,
            tokenizer,
            frame_seconds=acoustic_model.frame_seconds,
            frame_offset_seconds=acoustic_model.frame_offset_seconds,
            duration_seconds=length / acoustic_model.sample_rate_hz,
        )
        for item, length in zip(decoded, samples, strict=True)
    ]
