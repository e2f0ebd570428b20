"""Models and streams of small size, and what they are held against."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.ctc import build_model
from asr.ctc.decoder import Decoder
from asr.features.frontend import Frontend
from asr.features.log_mel import LogMelConfig
from asr.features.normalisation import Normalisation
from asr.inference.acoustic_model import AcousticModel
from asr.inference.streaming import StreamBatch
from asr.inference.torch_model import TorchAcousticModel
from asr.model.encoders import parse_encoder
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.tokens import Decoded, TokenSequence
from tests.conftest import NoiseMaker
from tests.model.encoders.pairs import Pair

FRAME_SAMPLES = 640


class Collector:
    """A decoder that keeps the real frames of each item."""

    def start(self, batch: int, *, device: torch.device) -> list[list[Tensor]]:
        return [[] for _ in range(batch)]

    def step(
        self, state: list[list[Tensor]], log_probs: Tensor, lengths: Tensor
    ) -> list[list[Tensor]]:
        rows = zip(state, log_probs, lengths.tolist(), strict=True)
        return [[*before, frames[:length]] for before, frames, length in rows]

    def best_labels(self, state: list[list[Tensor]]) -> list[list[int]]:
        return [[] for _ in state]

    def finish(self, state: list[list[Tensor]]) -> list[Decoded]:
        nothing = TokenSequence(tokens=(), score=0.0, acoustic_score=0.0, lm_score=0.0)
        return [Decoded(best=nothing)] * len(state)


def build(
    letters: Tokenizer,
    encoder: str,
    word: str,
    *,
    factor: int = 4,
    features: LogMelConfig | None = None,
    conditions: bool = False,
) -> TorchAcousticModel:
    torch.manual_seed(0)
    section = Pair(encoder, word, conditions).section(
        dropout=0.1, subsampling={"factor": factor, "channels": 8}
    )
    features = features or LogMelConfig(mel_bins=20)
    model = build_model(
        parse_encoder(section), vocab_size=letters.vocab_size, feature_size=features.feature_size
    )
    statistics = Normalisation(mean=(8.0,) * 20, standard_deviation=(3.0,) * 20, frames=1)
    frontend = Frontend(features, statistics if features.normalisation == "global" else None)
    return TorchAcousticModel(frontend, model)


def in_blocks(samples: Tensor, seed: int) -> Iterator[Tensor]:
    """Blocks of many lengths, 0 among them."""
    generator = np.random.default_rng(seed)
    place = 0
    while place < len(samples):
        size = int(generator.choice([0, 1, 50, 400, 2000, 20000]))
        yield samples[place : place + size]
        place += size


def stream_all(
    model: AcousticModel,
    tokenizer: Tokenizer,
    waveforms: Sequence[Tensor],
    *,
    decoder: Decoder[Any],
    seed: int = 0,
) -> tuple[StreamBatch, list[Hypothesis]]:
    """Every stream in blocks of its own, and ended when it is over."""
    batch = StreamBatch(model, tokenizer, decoder, streams=len(waveforms))
    sources = [in_blocks(waveform, seed + item) for item, waveform in enumerate(waveforms)]
    for blocks in zip_longest(*sources):
        batch.accept(blocks)
    return batch, batch.finish()


def assert_equals_one_pass(
    model: AcousticModel, letters: Tokenizer, waveforms: Sequence[Tensor], *, seed: int = 0
) -> None:
    expected = model.posteriors(waveforms)
    batch, _ = stream_all(model, letters, waveforms, decoder=Collector(), seed=seed)
    for item, length in enumerate(expected.lengths.tolist()):
        frames = torch.cat([torch.zeros(0, letters.vocab_size + 1), *batch.decoder_state[item]])
        assert len(frames) == length
        torch.testing.assert_close(frames, expected.log_probs[item, :length], atol=1e-4, rtol=0)
        assert torch.equal(frames.argmax(dim=1), expected.log_probs[item, :length].argmax(dim=1))


# One that ends in a chunk, one that is shorter than a chunk, none at all, and whole chunks.
SAMPLES = (40000, 21111, 1900, 0, 12 * FRAME_SAMPLES + 720, 1039, 399)


def waveforms(noise: NoiseMaker, samples: Sequence[int] = SAMPLES) -> list[Tensor]:
    return [torch.from_numpy(noise(3.0, seed=item))[:length] for item, length in enumerate(samples)]
