"""Waveforms to log-probabilities: features and encoder as decoding uses them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.greedy import BestPath, best_path
from asr.features.extractor import FeatureExtractor
from asr.lengths import stft_length
from asr.model import CtcModel, CtcOutput


class AcousticModel:
    """A feature extractor and a CTC model in evaluation mode, on one device.

    Args:
        extractor: Waveforms to features.
        model: Features to log-probabilities.
    """

    def __init__(self, extractor: FeatureExtractor, model: CtcModel) -> None:
        self.extractor = extractor.eval()
        self.model = model.eval()

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
    def best_paths(self, waveforms: Sequence[Tensor]) -> list[BestPath]:
        """Find the best label of every frame.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`.

        Returns:
            One path of shape (1, time) for each waveform, without frames where that is too short.
        """
        paths = [BestPath.empty()] * len(waveforms)
        places = self._long_enough(waveforms)
        if places:
            output = self._run([waveforms[place] for place in places])
            path = best_path(output.log_probs, output.lengths)
            rows = zip(places, output.lengths.tolist(), strict=True)
            for row, (place, frames) in enumerate(rows):
                paths[place] = path.item(row, frames)
        return paths

    @torch.inference_mode()
    def log_probs(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Compute the log-probabilities of every frame.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`.

        Returns:
            (time, vocab) float32 on the CPU for each waveform, without frames where that is too
            short.
        """
        found = [torch.empty(0, self.model.head.projection.out_features)] * len(waveforms)
        places = self._long_enough(waveforms)
        if places:
            output = self._run([waveforms[place] for place in places])
            for row, (place, frames) in enumerate(
                zip(places, output.lengths.tolist(), strict=True)
            ):
                found[place] = output.log_probs[row, :frames].cpu()
        return found

    def _long_enough(self, waveforms: Sequence[Tensor]) -> list[int]:
        """Places of the waveforms that give at least one frame."""
        return [
            place
            for place, waveform in enumerate(waveforms)
            if self.output_frames(len(waveform)) > 0
        ]

    def _run(self, waveforms: Sequence[Tensor]) -> CtcOutput:
        device = next(self.model.parameters()).device
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
        batch = pad_sequence(list(waveforms), batch_first=True).to(device)
        features = self.extractor(batch, lengths)
        output: CtcOutput = self.model(features.features, features.lengths)
        return output
