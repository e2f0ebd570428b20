"""A recogniser's stream: text, times, rates, memory, and what it refuses."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.ctc.decoder import Decoder
from asr.ctc.greedy import GreedyDecoder
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.features.log_mel import LogMelConfig
from asr.inference.streaming import RecognitionStream, StreamBatch
from asr.model.attention import OFFLINE, Mode, chunked
from asr.recognizer import Recognizer
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from tests.conftest import NoiseMaker
from tests.inference.streams import FRAME_SAMPLES, build, in_blocks, stream_all
from tests.model.attention.served import mechanism
from tests.model.encoders.pairs import PAIRS, Pair, served

RATE_HZ = 16000
DECODERS = pytest.mark.parametrize(
    "decoder",
    [GreedyDecoder(), BeamSearch(BeamConfig(beam_size=4, nbest=2))],
    ids=["greedy", "beam"],
)


@DECODERS
def test_text_and_times_are_those_of_one_pass(
    recognizer: Recognizer, noise: NoiseMaker, decoder: Decoder[Any]
) -> None:
    model = recognizer.acoustic_model.under(chunked(8, 16))
    tokenizer = recognizer.tokenizer
    audio = [torch.from_numpy(noise(s, seed=n)) for n, s in enumerate([6.0, 2.5, 0.01, 9.3])]
    expected = Recognizer(model, tokenizer, decoder=decoder).decode_batch(audio)
    _, found = stream_all(model, tokenizer, audio, decoder=decoder)
    assert len({item.text for item in expected}) == 4
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.duration_seconds) == (other.text, other.duration_seconds)
        assert one.score == pytest.approx(other.score, abs=1e-2)
        assert [item.text for item in one.nbest] == [item.text for item in other.nbest]
        ours, theirs = (
            [time for word in item.words for time in (word.start_seconds, word.end_seconds)]
            for item in (one, other)
        )
        assert ours == pytest.approx(theirs)


@DECODERS
def test_partial_text_grows_into_the_transcript(
    recognizer: Recognizer, noise: NoiseMaker, decoder: Decoder[Any]
) -> None:
    model = recognizer.acoustic_model.under(chunked(8, 16))
    stream = RecognitionStream(model, recognizer.tokenizer, decoder)
    samples = noise(12.0, seed=3)
    partials = [stream.accept(part, RATE_HZ) for part in np.array_split(samples, 40)]
    assert partials[0] == ""
    assert stream.chunks == (len(samples) - model.lookahead_samples) // (8 * FRAME_SAMPLES)
    final = stream.finish().text
    lengths = [len(text) for text in partials]
    assert 0 < lengths[10] < lengths[20] < lengths[30] < len(final)
    # What a stream that ends here would give.
    half = RecognitionStream(model, recognizer.tokenizer, decoder)
    text = half.accept(samples[: 20 * 8 * FRAME_SAMPLES + model.lookahead_samples], RATE_HZ)
    assert half.finish().text == text


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_other_rates_leave_no_seams(
    recognizer: Recognizer, noise: NoiseMaker, rate_hz: int
) -> None:
    samples = noise(5.0, rate_hz=rate_hz)
    stream = recognizer.stream(chunk_seconds=0.32, left_seconds=1.28)
    for block in in_blocks(torch.from_numpy(samples), seed=5):
        stream.accept(block, rate_hz)
    found = stream.finish()
    model = recognizer.acoustic_model.under(chunked(8, 32))
    [expected] = Recognizer(model, recognizer.tokenizer).transcribe([(samples, rate_hz)])
    assert found.text == expected.text != ""
    assert found.duration_seconds == pytest.approx(expected.duration_seconds, abs=1e-3)


def test_stereo_is_mixed(recognizer: Recognizer, noise: NoiseMaker) -> None:
    samples = noise(2.0)
    texts = []
    for each in (samples, np.stack([samples, samples], axis=1)):
        stream = recognizer.stream(chunk_seconds=0.32)
        stream.accept(each, RATE_HZ)
        texts.append(stream.finish().text)
    assert texts[0] == texts[1] != ""


def sizes(state: Any) -> list[int]:  # noqa: ANN401
    """Bytes held by nested states."""
    if isinstance(state, Tensor):
        return [state.untyped_storage().nbytes()]
    if isinstance(state, list | tuple):
        return [size for part in state for size in sizes(part)]
    return []


# Mechanisms that see a limited left context, or that keep sums however long it is.
_BOUNDED = served(PAIRS, chunked(8, 16)) + [
    (pair, mode)
    for pair, mode in served(PAIRS, chunked(8))
    if not pair.serves(chunked(8, 16)) and mechanism(pair.word).capabilities.memory == "T m"
]


@DECODERS
@pytest.mark.parametrize(("pair", "mode"), _BOUNDED, ids=str)
def test_silence_leaves_the_state_as_large_as_it_was(
    letters: Tokenizer, pair: Pair, mode: Mode, decoder: Decoder[Any]
) -> None:
    whole = build(letters, pair.encoder, pair.word)
    with torch.no_grad():
        # Silence is blank.
        whole.model.head.projection.bias[0] = 100.0
    batch = StreamBatch(whole.under(mode), letters, decoder)
    found = []
    for _ in range(6):
        # Longer than any span that the mechanisms remember of their own accord.
        batch.accept([torch.zeros(6 * 8 * FRAME_SAMPLES)])
        found.append((sizes(batch.encoder_state), sizes(batch.decoder_state)))
    assert found[1] == found[2] == found[-1]
    assert sum(found[-1][0]) > 0
    [hypothesis] = batch.finish()
    assert (hypothesis.text, hypothesis.duration_seconds) == ("", 36 * 8 * 0.04)


def test_an_empty_stream_is_an_empty_transcript(recognizer: Recognizer) -> None:
    stream = recognizer.stream(chunk_seconds=0.64, left_seconds=2.0)
    assert stream.accept(torch.zeros(0), RATE_HZ) == ""
    assert stream.finish() == Hypothesis(text="", score=0.0, words=(), duration_seconds=0.0)
    untouched = recognizer.stream(chunk_seconds=0.64)
    assert untouched.finish().duration_seconds == 0.0


def test_spans_are_rounded_to_frames(recognizer: Recognizer) -> None:
    stream = recognizer.stream(chunk_seconds=0.33, left_seconds=1.0)
    assert (stream.chunk_seconds, stream.left_seconds) == (0.32, 1.0)
    assert stream.lookahead_seconds == pytest.approx(0.045)
    least = recognizer.stream(chunk_seconds=0.001)
    assert (least.chunk_seconds, least.left_seconds) == (0.04, None)
    assert recognizer.stream(chunk_seconds=0.3, left_seconds=math.inf).left_seconds is None


@pytest.mark.parametrize(
    ("chunk_seconds", "left_seconds", "message"),
    [
        (0.0, None, "chunk_seconds above 0 and finite, found 0.0"),
        (float("nan"), None, "chunk_seconds above 0"),
        (float("inf"), None, "chunk_seconds above 0 and finite, found inf"),
        (0.3, -1.0, "left_seconds of at least 0, found -1.0"),
    ],
)
def test_spans_are_checked(
    recognizer: Recognizer, chunk_seconds: float, left_seconds: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        recognizer.stream(chunk_seconds=chunk_seconds, left_seconds=left_seconds)


def test_normalisation_by_utterance_cannot_stream(letters: Tokenizer) -> None:
    features = LogMelConfig(mel_bins=20, normalisation="utterance")
    model = build(letters, "conformer", "full", features=features).under(chunked(4))
    with pytest.raises(ValueError, match=r'train with features\.normalisation = "global"'):
        StreamBatch(model, letters, GreedyDecoder())


def test_a_stream_needs_a_chunk(letters: Tokenizer) -> None:
    model = build(letters, "conformer", "full")
    assert model.mode == OFFLINE
    with pytest.raises(ValueError, match="chunked mode, found mode 'offline'"):
        StreamBatch(model, letters, GreedyDecoder())


def test_a_finished_stream_takes_nothing(recognizer: Recognizer) -> None:
    stream = recognizer.stream(chunk_seconds=0.64)
    stream.finish()
    with pytest.raises(ValueError, match="found a finished one"):
        stream.accept(torch.zeros(10), RATE_HZ)
    with pytest.raises(ValueError, match="found a finished one"):
        stream.finish()


def test_an_ended_stream_does_not_go_on(letters: Tokenizer) -> None:
    model = build(letters, "conformer", "full").under(chunked(4))
    batch = StreamBatch(model, letters, GreedyDecoder(), streams=2)
    batch.accept([torch.zeros(10), None])
    with pytest.raises(ValueError, match="None for stream 1, which has ended"):
        batch.accept([torch.zeros(10), torch.zeros(0)])
    for count in (1, 3):
        with pytest.raises(ValueError, match=f"expected 2 blocks, one a stream, found {count}"):
            batch.accept([torch.zeros(10)] * count)


def test_the_rate_stays(recognizer: Recognizer) -> None:
    stream = recognizer.stream(chunk_seconds=0.64)
    stream.accept(torch.zeros(10), RATE_HZ)
    with pytest.raises(ValueError, match="16000 Hz as the first, found 8000 Hz"):
        stream.accept(torch.zeros(10), 8000)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "error", "message"),
    [
        (torch.zeros(10, dtype=torch.int16), RATE_HZ, TypeError, "found torch.int16"),
        (torch.zeros(1, 2, 3), RATE_HZ, ValueError, "of shape"),
        (torch.tensor([float("nan")]), RATE_HZ, ValueError, "finite samples"),
        (torch.zeros(10), 0, ValueError, "sample rate in whole Hz above 0"),
        (torch.zeros(10), 16001, ValueError, "common sampling rate, found 16001 Hz"),
    ],
)
def test_samples_are_checked(
    recognizer: Recognizer,
    samples: Tensor,
    rate_hz: int,
    error: type[Exception],
    message: str,
) -> None:
    stream = recognizer.stream(chunk_seconds=0.64)
    with pytest.raises(error, match=message):
        stream.accept(samples, rate_hz)
