"""Waveforms to log-posteriors: features and encoder as decoding uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.ctc import CtcModel
from asr.features.frontend import FeatureExtractor
from asr.lengths import stft_length
from asr.model.attention import OFFLINE, Mode
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.tokens import Decoded
from asr.transcripts.word_times import to_hypothesis


@dataclass(frozen=True, kw_only=True)
class Posteriors:
    """What decoding needs of a model's output.

    Args:
        log_probs: (batch, time, vocab) float32, natural logarithm; index 0 is the blank.
        lengths: (batch,) int64, encoder frames.
    """

    log_probs: Tensor
    lengths: Tensor


class AcousticModel:
    """A feature extractor and a CTC model in evaluation mode, on one device.

    Args:
        extractor: Waveforms to features.
        model: Features to log-probabilities.
        mode: Which frames a frame may attend to.

    Raises:
        ValueError: The model does not serve the mode.
    """

    def __init__(
        self, extractor: FeatureExtractor, model: CtcModel, *, mode: Mode = OFFLINE
    ) -> None:
        model.encoder.check_mode(mode)
        self.extractor = extractor.eval()
        self.model = model.eval()
        self.mode = mode

    def under(self, mode: Mode) -> "AcousticModel":
        """The same model in another mode.

        Raises:
            ValueError: The model does not serve it.
        """
        return AcousticModel(self.extractor, self.model, mode=mode)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveforms."""
        return self.extractor.config.sample_rate_hz

    @property
    def frame_samples(self) -> int:
        """Distance between encoder frames, in samples."""
        return self.extractor.config.hop_samples * self.model.subsampling_factor

    @property
    def frame_seconds(self) -> float:
        """Distance between encoder frames."""
        return self.frame_samples / self.sample_rate_hz

    @property
    def lookahead_samples(self) -> int:
        """Samples after its own `frame_samples` that an encoder frame needs before it is known.

        Windows of features and the convolutions of the subsampling reach so far.
        """
        config = self.extractor.config
        feature_frames = self.model.encoder.subsampling.lookahead
        # Windows that do not overlap leave a gap, which is waited for too.
        last_samples = max(config.window_samples, config.hop_samples)
        return (feature_frames - 1) * config.hop_samples + last_samples

    @property
    def frame_offset_seconds(self) -> float:
        """Start of the time that the first encoder frame stands for.

        A frame stands for `frame_seconds` around the middle of the audio that the feature windows
        and the subsampling's convolutions gather for it.
        """
        config = self.extractor.config
        subsampling = self.model.encoder.subsampling
        feature_frames = subsampling.config.factor + subsampling.lookahead
        seen_samples = (feature_frames - 1) * config.hop_samples + config.window_samples
        return (seen_samples - self.frame_samples) / 2 / self.sample_rate_hz

    def output_frames(self, samples: int) -> int:
        """Encoder frames of a waveform of so many samples."""
        config = self.extractor.config
        frames = stft_length(
            samples, window_samples=config.window_samples, hop_samples=config.hop_samples
        )
        return self.model.output_length(frames)

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
            vocab = self.model.head.projection.out_features
            return Posteriors(
                log_probs=torch.zeros(len(waveforms), 0, vocab, device=self.device),
                lengths=torch.zeros(len(waveforms), dtype=torch.int64, device=self.device),
            )
        chosen = [waveforms[place] for place in places]
        lengths = torch.tensor([len(waveform) for waveform in chosen], device=self.device)
        features = self.extractor(pad_sequence(chosen, batch_first=True).to(self.device), lengths)
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


def to_hypotheses(
    decoded: Sequence[Decoded],
    samples: Sequence[int],
    *,
    acoustic_model: AcousticModel,
    tokenizer: Tokenizer,
) -> list[Hypothesis]:
    """Turn what a decoder gives for whole recordings into transcripts.

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
