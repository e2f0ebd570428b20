"""Streams against one pass over the whole recording under the mask of chunks."""

import pytest
import torch

from asr.features.log_mel import LogMelConfig
from asr.inference.streaming import StreamBatch
from asr.model.attention import ATTENTION, Mode, chunked
from asr.model.encoders import ENCODERS
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import NoiseMaker
from tests.inference.streams import (
    FRAME_SAMPLES,
    Collector,
    assert_equals_one_pass,
    build,
    waveforms,
)
from tests.model.encoders.pairs import PAIRS, Pair, served

_MODES = (chunked(4), chunked(4, 8))


@pytest.mark.parametrize(("pair", "mode"), served(PAIRS, *_MODES), ids=str)
def test_streams_equal_one_pass(
    letters: Tokenizer, noise: NoiseMaker, pair: Pair, mode: Mode
) -> None:
    model = build(letters, pair.encoder, pair.word).under(mode)
    assert_equals_one_pass(model, letters, waveforms(noise))


@pytest.mark.parametrize(
    ("pair", "mode"),
    [(pair, mode) for pair in PAIRS for mode in _MODES if not pair.serves(mode)],
    ids=str,
)
def test_a_mechanism_says_what_it_cannot_do(letters: Tokenizer, pair: Pair, mode: Mode) -> None:
    name = ATTENTION[pair.word].config.__name__.removesuffix("Config")
    with pytest.raises(ValueError, match=f"{name}.*: expected"):
        build(letters, pair.encoder, pair.word).under(mode)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_streams_of_self_conditioned_models_equal_one_pass(
    letters: Tokenizer, noise: NoiseMaker, encoder: str
) -> None:
    model = build(letters, encoder, "full", conditions=True).under(chunked(4, 8))
    assert_equals_one_pass(model, letters, waveforms(noise))


@pytest.mark.parametrize("word", ["reformer", "linformer"])
def test_mechanisms_that_cannot_stream_say_so(letters: Tokenizer, word: str) -> None:
    with pytest.raises(ValueError, match=r"expected a mode among .* found 'chunked'; choose an"):
        build(letters, "transformer", word).under(chunked(4))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("chunk", "left"), [(1, 0), (3, 7), (16, 16)])
def test_any_chunk_and_any_blocks(
    letters: Tokenizer, noise: NoiseMaker, chunk: int, left: int, seed: int
) -> None:
    model = build(letters, "conformer", "alibi").under(chunked(chunk, left))
    assert_equals_one_pass(model, letters, waveforms(noise), seed=seed)


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("window_seconds", [0.025, 0.010, 0.005])
def test_other_subsampling_and_windows(
    letters: Tokenizer, noise: NoiseMaker, factor: int, window_seconds: float
) -> None:
    """Windows that overlap, meet, and leave gaps."""
    features = LogMelConfig(mel_bins=20, window_seconds=window_seconds)
    model = build(letters, "conformer", "full", factor=factor, features=features)
    assert_equals_one_pass(model.under(chunked(4, 8)), letters, waveforms(noise))


def test_every_sample_in_a_block_of_its_own(letters: Tokenizer, noise: NoiseMaker) -> None:
    model = build(letters, "conformer", "transformer_xl").under(chunked(1, 4))
    [waveform] = waveforms(noise, [3000])
    batch = StreamBatch(model, letters, Collector())
    for sample in waveform:
        batch.accept([sample.unsqueeze(0)])
    # A frame is known once all that it sees is there.
    assert batch.chunks == (3000 - model.lookahead_samples) // FRAME_SAMPLES
    batch.finish()
    expected = model.posteriors([waveform])
    frames = torch.cat(batch.decoder_state[0])
    assert len(frames) == int(expected.lengths) == 3
    torch.testing.assert_close(frames, expected.log_probs[0, :3], atol=1e-4, rtol=0)
