from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.tokens import Decoded, Token, TokenSequence
from tests.conftest import NoiseMaker

RATE_HZ = 16000


class _OneLetter:
    """A decoder to which every item is an A in the frames 10 and 11."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token = Token(
            label=tokenizer.pieces.index("A") + 1, start_frame=10, end_frame=12, posterior=0.5
        )

    def start(self, batch: int, *, device: torch.device) -> int:
        return batch

    def step(self, state: int, log_probs: Tensor, lengths: Tensor) -> int:
        return state

    def best_labels(self, state: int) -> list[list[int]]:
        return [[self._token.label]] * state

    def finish(self, state: int) -> list[Decoded]:
        best = TokenSequence(tokens=(self._token,), score=0.0, acoustic_score=0.0, lm_score=0.0)
        return [Decoded(best=best)] * state


def test_times_of_transcripts_begin_at_the_first_frames_own(
    tiny_experiment: Path, letters: Tokenizer, noise: NoiseMaker
) -> None:
    recognizer = load(tiny_experiment, decoder=_OneLetter(letters))
    [found] = recognizer.transcribe([(noise(1.0), RATE_HZ)])
    [word] = found.words
    offset = recognizer.acoustic_model.frame_offset_seconds
    assert offset > 0
    times = (word.start_seconds, word.end_seconds)
    assert times == pytest.approx((offset + 10 * 0.04, offset + 12 * 0.04))
