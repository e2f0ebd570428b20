"""Waveforms to log-posteriors chunk by chunk."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.acoustic_model import AcousticModel, Posteriors
from asr.lengths import stft_length
from asr.model.attention import Mode, chunked
from asr.model.encoders import EncoderState


def chunked_mode(*, chunk_seconds: float, left_seconds: float | None, frame_seconds: float) -> Mode:
    """The mode whose spans are nearest to those asked for.

    Args:
        chunk_seconds: Length of a chunk, > 0; at least one frame is taken.
        left_seconds: What frames may attend to before their chunk; None or infinity is all.
        frame_seconds: Distance between encoder frames.

    Returns:
        The mode, in whole encoder frames.

    Raises:
        ValueError: A chunk is not positive and finite, or the left context is negative.
    """
    if not 0 < chunk_seconds < math.inf:
        raise ValueError(
            f"expected chunk_seconds above 0 and finite, found {chunk_seconds}; correct it"
        )
    if left_seconds is not None and not left_seconds >= 0:
        raise ValueError(
            f"expected left_seconds of at least 0, found {left_seconds}; raise it or leave it out"
        )
    if left_seconds == math.inf:
        left_seconds = None
    left = None if left_seconds is None else round(left_seconds / frame_seconds)
    return chunked(max(1, round(chunk_seconds / frame_seconds)), left)


class ChunkedModel:
    """An acoustic model in chunked mode, for a batch of streams that advance together.

    Chunk by chunk it gives the frames that `AcousticModel.posteriors` gives for the whole.

    Args:
        acoustic_model: In chunked mode.

    Raises:
        ValueError: The mode is another one, or features are normalised by utterance.
    """

    def __init__(self, acoustic_model: AcousticModel) -> None:
        mode, config = acoustic_model.mode, acoustic_model.extractor.config
        if mode.chunk_frames is None:
            raise ValueError(
                f"expected an acoustic model in chunked mode, found mode {mode.kind!r}; give it a "
                "chunk"
            )
        if config.normalisation != "global":
            raise ValueError(
                "expected features normalised by the training data's statistics, found "
                f"normalisation = {config.normalisation!r}, whose statistics are known at the end "
                'of a stream alone; train with features.normalisation = "global"'
            )
        self.acoustic_model = acoustic_model
        self.chunk_samples = mode.chunk_frames * acoustic_model.frame_samples
        self.window_samples, self._hop_samples = config.window_samples, config.hop_samples
        self._ahead_frames = acoustic_model.model.encoder.subsampling.lookahead

    def used_samples(self, *, first: bool) -> int:
        """Samples before the first feature window of the next chunk.

        Args:
            first: Whether the streams begin; the first chunk also takes the feature frames that the
                subsampling looks ahead.
        """
        return self.chunk_samples + (self._ahead_frames * self._hop_samples if first else 0)

    def needed_samples(self, *, first: bool) -> int:
        """Samples from its first feature window on that a whole chunk needs."""
        ahead = self.acoustic_model.lookahead_samples
        return self.chunk_samples + ahead - (0 if first else self._ahead_frames * self._hop_samples)

    @torch.inference_mode()
    def step(
        self, waveforms: Sequence[Tensor], state: EncoderState | None
    ) -> tuple[Posteriors, EncoderState]:
        """Take up the next chunk.

        Args:
            waveforms: Tensors (sample,) of float32, one a stream, from the first feature window of
                the chunk on: `needed_samples` of a whole chunk, fewer where the stream ends in it,
                none after that. One whole chunk is among them, or the batch ends.
            state: What the previous step returned; None at the start.

        Returns:
            The chunk's log-posteriors and the state.
        """
        model = self.acoustic_model
        config = model.extractor.config
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=model.device)
        padded = pad_sequence(list(waveforms), batch_first=True).to(model.device)
        computed = model.extractor(padded, lengths)
        frames = stft_length(
            padded.shape[1], window_samples=config.window_samples, hop_samples=config.hop_samples
        )
        # The encoder counts frames by this length, which the extractor rounds up.
        output = model.model(
            computed.features[:, :frames], computed.lengths, mode=model.mode, state=state
        )
        assert output.state is not None
        return Posteriors(log_probs=output.log_probs, lengths=output.lengths), output.state
