"""Waveforms to the best labels: features and encoder as decoding uses them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.greedy import BestPath, best_path
from asr.features.extractor import FeatureExtractor
from asr.lengths import stft_length
from asr.model import CtcModel


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
        places = [
            place
            for place, waveform in enumerate(waveforms)
            if self.output_frames(len(waveform)) > 0
        ]
        if not places:
            return paths
        device = next(self.model.parameters()).device
        chosen = [waveforms[place] for place in places]
        lengths = torch.tensor([len(waveform) for waveform in chosen], device=device)
        features = self.extractor(pad_sequence(chosen, batch_first=True).to(device), lengths)
        output = self.model(features.features, features.lengths)
        path = best_path(output.log_probs, output.lengths)
        for row, (place, frames) in enumerate(zip(places, output.lengths.tolist(), strict=True)):
            paths[place] = path.item(row, frames)
        return paths
