"""Chunks drawn at random in training, so that one model serves several latencies."""

from itertools import product

import torch

from asr.model.attention import OFFLINE, Mode, chunked
from asr.model.encoders import Encoder
from asr.training.config import StreamingTrainingConfig


class ChunkModes:
    """Draws the attention mode of each training batch.

    Args:
        config: Which modes.
        encoder: What serves them.

    Raises:
        ValueError: The encoder does not serve one of them.

    Source: Zhang et al. 2020 (U2, arXiv:2012.05481), section 2.3, dynamic chunk training.
    """

    def __init__(self, config: StreamingTrainingConfig, encoder: Encoder) -> None:
        self._offline_probability = config.offline_probability
        lefts = [None if left == "all" else left for left in config.left_frames]
        self._modes = [chunked(*pair) for pair in product(config.chunk_frames, lefts)]
        for mode in self._modes:
            encoder.check_mode(mode)
        known = [left for left in lefts if left is not None]
        self.shortest = chunked(min(config.chunk_frames), min(known, default=None))
        """The mode of the smallest chunk and the least left context."""
        most_left = None if None in lefts else max(known)
        self.largest = (
            OFFLINE if self._offline_probability else chunked(max(config.chunk_frames), most_left)
        )
        """The mode in which frames attend to the most others."""

    def draw(self) -> Mode:
        """A mode, from torch's random numbers on the CPU."""
        if float(torch.rand(())) < self._offline_probability:
            return OFFLINE
        return self._modes[int(torch.randint(len(self._modes), ()))]
