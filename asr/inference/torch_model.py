"""Torch acoustic model: a frontend and a CTC model behind the contract of `AcousticModel`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.ctc import CtcModel
from asr.features.frontend import Frontend
from asr.inference.acoustic_model import Posteriors
from asr.model.attention import OFFLINE, Attention, Mode
from asr.model.encoders import EncoderState

_FLOAT_BYTES = 4
# What lives at once at the peak of one pass, measured over all encoders and mechanisms.
_FLOATS_PER_WIDTH = 40
_FLOATS_PER_LABEL = 2
_FLOATS_PER_FEATURE = 4
_COPIES_OF_SCORES = 5
_SLICES_BYTES = 64 << 20


class TorchAcousticModel:
    """A frontend and a CTC model in evaluation mode, on one device; see AcousticModel.

    Args:
        frontend: Waveforms to features.
        model: Features to log-probabilities.
        mode: Which frames a frame may attend to.

    Raises:
        ValueError: The model does not serve the mode.
    """

    def __init__(self, frontend: Frontend, model: CtcModel, *, mode: Mode = OFFLINE) -> None:
        model.encoder.check_mode(mode)
        self.frontend = frontend.eval()
        self.model = model.eval()
        self.mode = mode

    def under(self, mode: Mode) -> "TorchAcousticModel":
        """The same model in another mode.

        Raises:
            ValueError: The model does not serve it.
        """
        return TorchAcousticModel(self.frontend, self.model, mode=mode)

    def chunked_model(self) -> "TorchChunkedModel":
        """The model of streams, in this chunked mode.

        Raises:
            ValueError: The mode is another one, or features are normalised by utterance.
        """
        return TorchChunkedModel(self)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    @property
    def output_size(self) -> int:
        """Entries of a frame: the blank and the token pieces."""
        return self.model.output_size

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveforms."""
        return self.frontend.config.sample_rate_hz

    @property
    def frame_samples(self) -> int:
        """Distance between encoder frames, in samples."""
        return self.frontend.config.start_sample(self.model.subsampling_factor)

    @property
    def frame_seconds(self) -> float:
        """Distance between encoder frames."""
        return self.frontend.config.seconds(self.frame_samples)

    @property
    def lookahead_samples(self) -> int:
        """Samples after its own `frame_samples` that an encoder frame needs before it is known.

        Windows of features and the convolutions of the subsampling reach so far.
        """
        return self.frontend.config.samples_awaited(self.model.lookahead)

    @property
    def frame_offset_seconds(self) -> float:
        """Start of the time that the first encoder frame stands for.

        A frame stands for `frame_seconds` around the middle of the audio that the feature windows
        and the subsampling's convolutions gather for it.
        """
        config = self.frontend.config
        seen_samples = config.samples_seen(self.model.subsampling_factor + self.model.lookahead)
        return config.seconds((seen_samples - self.frame_samples) / 2)

    def output_frames(self, samples: int) -> int:
        """Encoder frames of a waveform of so many samples."""
        return self.model.output_length(self.frontend.config.frames(samples))

    def pass_bytes(self, frames: int) -> int:
        """About the most bytes that one pass over so many encoder frames needs beside the audio.

        Without gradients attention holds no more than a slice of its scores at once, so that memory
        grows linearly in the end, whatever the mechanism.
        """
        floats = (
            _FLOATS_PER_WIDTH * self.model.encoder.config.width
            + _FLOATS_PER_LABEL * self.output_size
            + _FLOATS_PER_FEATURE
            * self.model.subsampling_factor
            * self.frontend.config.feature_size
        )
        return _FLOAT_BYTES * frames * floats + self._score_bytes(frames) + _SLICES_BYTES

    def _score_bytes(self, frames: int) -> int:
        """Attention scores that live at once."""
        scores = (
            module.score_bytes(frames)
            for module in self.model.modules()
            if isinstance(module, Attention)
        )
        return _COPIES_OF_SCORES * max(scores, default=0)

    @torch.inference_mode()
    def posteriors(self, waveforms: Sequence[Tensor]) -> Posteriors:
        """Find the probability of every label in every frame.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`; one too short for a frame
                has none.

        Returns:
            The log-posteriors, on the model's device.
        """
        places = [
            place
            for place, waveform in enumerate(waveforms)
            if self.output_frames(len(waveform)) > 0
        ]
        if not places:
            return Posteriors(
                log_probs=torch.zeros(len(waveforms), 0, self.output_size, device=self.device),
                lengths=torch.zeros(len(waveforms), dtype=torch.int64, device=self.device),
            )
        chosen = [waveforms[place] for place in places]
        lengths = torch.tensor([len(waveform) for waveform in chosen], device=self.device)
        features = self.frontend(pad_sequence(chosen, batch_first=True).to(self.device), lengths)
        output = self.model(features.features, features.lengths, mode=self.mode)
        if len(places) == len(waveforms):
            return Posteriors(log_probs=output.log_probs, lengths=output.lengths)
        rows = torch.tensor(places, device=self.device)
        log_probs = output.log_probs.new_zeros(len(waveforms), *output.log_probs.shape[1:])
        lengths = output.lengths.new_zeros(len(waveforms))
        return Posteriors(
            log_probs=log_probs.index_copy(0, rows, output.log_probs),
            lengths=lengths.index_copy(0, rows, output.lengths),
        )


class TorchChunkedModel:
    """A torch acoustic model in chunked mode, for streams that advance together; see ChunkedModel.

    A chunk begins with its first feature window.

    Args:
        acoustic_model: In chunked mode.

    Raises:
        ValueError: The mode is another one, or features are normalised by utterance.
    """

    def __init__(self, acoustic_model: TorchAcousticModel) -> None:
        mode, config = acoustic_model.mode, acoustic_model.frontend.config
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
        self._acoustic_model = acoustic_model
        self._chunk_samples = mode.chunk_frames * acoustic_model.frame_samples
        # The first chunk also takes the feature frames that the subsampling looks ahead.
        self._ahead_samples = config.start_sample(acoustic_model.model.lookahead)

    @property
    def window_samples(self) -> int:
        """Fewest samples that a stream's end is worth a step for: one feature window."""
        return self._acoustic_model.frontend.config.window_samples

    def used_samples(self, *, first: bool) -> int:
        """Samples before the first feature window of the next chunk.

        Args:
            first: Whether the streams begin.
        """
        return self._chunk_samples + (self._ahead_samples if first else 0)

    def needed_samples(self, *, first: bool) -> int:
        """Samples from its first feature window on that a whole chunk needs."""
        ahead = self._acoustic_model.lookahead_samples
        return self._chunk_samples + ahead - (0 if first else self._ahead_samples)

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
        model, device = self._acoustic_model, self._acoustic_model.device
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
        padded = pad_sequence(list(waveforms), batch_first=True).to(device)
        computed = model.frontend(padded, lengths)
        # The encoder counts frames by this length, which the frontend rounds up.
        frames = model.frontend.config.frames(padded.shape[1])
        output = model.model(
            computed.features[:, :frames], computed.lengths, mode=model.mode, state=state
        )
        assert output.state is not None
        return Posteriors(log_probs=output.log_probs, lengths=output.lengths), output.state
