"""Waveforms to the best labels: features and encoder as decoding uses them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.greedy import BestPath, best_path
from asr.features.extractor import FeatureExtractor
from asr.lengths import stft_length
from asr.model import CtcModel
from asr.model.ctc_model import CtcOutput


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

    def best_paths(self, waveforms: Sequence[Tensor]) -> list[BestPath]:
        """Find the best label of every frame.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`.

        Returns:
            One path of shape (1, time) for each waveform, without frames where that is too short.
        """
        paths = [BestPath.empty()] * len(waveforms)
        places, output = self._outputs(waveforms)
        if output is not None:
            path = best_path(output.log_probs, output.lengths)
            for row, frames in enumerate(output.lengths.tolist()):
                paths[places[row]] = path.item(row, frames)
        return paths

    def log_probs(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Find the log-probabilities of all labels.

        Args:
            waveforms: Tensors (sample,) of float32 at `sample_rate_hz`.

        Returns:
            Tensors (time, vocab) of float32 on the CPU, without frames where a waveform is too
            short.
        """
        labels = self.model.head.projection.out_features
        found = [torch.zeros(0, labels)] * len(waveforms)
        places, output = self._outputs(waveforms)
        if output is not None:
            log_probs = output.log_probs.cpu()
            for row, frames in enumerate(output.lengths.tolist()):
                found[places[row]] = log_probs[row, :frames]
        return found

    @torch.inference_mode()
    def _outputs(self, waveforms: Sequence[Tensor]) -> tuple[list[int], CtcOutput | None]:
        """Which waveforms are long enough for a frame, and the model's output for these."""
        places = [
            place
            for place, waveform in enumerate(waveforms)
            if self.output_frames(len(waveform)) > 0
        ]
        if not places:
            return places, None
        device = next(self.model.parameters()).device
        chosen = [waveforms[place] for place in places]
        lengths = torch.tensor([len(waveform) for waveform in chosen], device=device)
        features = self.extractor(pad_sequence(chosen, batch_first=True).to(device), lengths)
        return places, self.model(features.features, features.lengths)
