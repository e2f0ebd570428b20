from pathlib import Path

import pytest
import torch

from asr.claims.cost import peak_bytes
from asr.features.log_mel import LogMelConfig
from asr.inference.long_recordings import LongformConfig, LongformMethod, cut_recording
from asr.model.attention import ATTENTION
from asr.model.encoders import ENCODERS
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import NoiseMaker
from tests.inference.streams import build

RATE_HZ = 16000


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
@pytest.mark.parametrize("word", sorted(ATTENTION))
def test_one_pass_needs_no_more_than_predicted(letters: Tokenizer, encoder: str, word: str) -> None:
    model = build(letters, encoder, word)
    audio = 0.1 * torch.randn(60 * RATE_HZ, generator=torch.Generator().manual_seed(0))
    needed = peak_bytes(lambda: model.posteriors([audio]))
    assert needed < model.pass_bytes(model.output_frames(len(audio)))


def test_what_is_predicted_grows_linearly_in_the_end(letters: Tokenizer) -> None:
    dense = build(letters, "conformer", "alibi")
    sparse = build(letters, "conformer", "performer")
    frames = (100, 10_000, 1_000_000)
    beyond = [dense.pass_bytes(count) - sparse.pass_bytes(count) for count in frames]
    # Five copies of four heads' scores, at most 2 ** 25 of these at once, of four bytes.
    assert beyond == [20 * 4 * 100**2, 20 << 25, 20 << 25]


def test_one_pass_beyond_the_limit_is_refused(tiny_experiment: Path, noise: NoiseMaker) -> None:
    config = LongformConfig(
        method="whole",
        limit_seconds=1.0,
        window_seconds=1.0,
        context_seconds=0.1,
        memory_bytes=70_000_000,
    )
    recognizer = load(tiny_experiment, longform=config)
    good, bad = (noise(3.0), RATE_HZ), (noise(20.0), RATE_HZ)
    short = (noise(0.9), RATE_HZ)
    outcomes = {each.index: each for each in recognizer.outcomes([bad, good, short])}
    frames = recognizer.acoustic_model.output_frames(20 * RATE_HZ)
    needed = recognizer.acoustic_model.pass_bytes(frames)
    assert str(outcomes[0].error) == (
        f"expected one pass to need at most 70000000 bytes, found about {needed} for {frames} "
        "encoder frames (20 s); cut the recording into windows or at pauses"
    )
    assert all(outcomes[index].hypothesis is not None for index in (1, 2))


def test_one_pass_is_that_of_a_short_recording(tiny_experiment: Path, noise: NoiseMaker) -> None:
    config = LongformConfig(
        method="whole", limit_seconds=1.0, window_seconds=1.0, context_seconds=0.1
    )
    item = (noise(20.0), RATE_HZ)
    [found] = load(tiny_experiment, longform=config).transcribe([item])
    [expected] = load(tiny_experiment).transcribe([item])
    assert found == expected


@pytest.mark.parametrize("method", ["windows", "whole", "pauses"])
def test_what_is_not_long_is_one_window(letters: Tokenizer, method: LongformMethod) -> None:
    features = LogMelConfig(mel_bins=20, sample_rate_hz=12000)
    model = build(letters, "conformer", "full", features=features)
    [window] = cut_recording(
        [torch.zeros(100)] * 3, LongformConfig(method=method), model, seconds=40.0
    )
    assert (len(window.samples), window.stop_frame) == (300, None)
