"""Streams against one pass over the whole recording under the mask of chunks."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.acoustic_model import AcousticModel
from asr.decoding.beam import BeamConfig, BeamSearch
from asr.decoding.decoder import Decoded, Decoder, TokenSequence
from asr.decoding.greedy import GreedyDecoder
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.streaming import RecognitionStream, StreamBatch
from asr.features.extractor import FeatureExtractor, FeaturesConfig
from asr.features.normalisation import Normalisation
from asr.model import build_model
from asr.model.attention import ATTENTION, OFFLINE, Mode, chunked
from asr.model.encoders import ENCODERS, parse_encoder
from asr.recognizer import Recognizer, load
from asr.tokens.tokenizer import Tokenizer
from tests.model.encoders.pairs import PAIRS, Pair

RATE_HZ = 16000
FRAME_SAMPLES = 640
NoiseMaker = Callable[..., NDArray[np.float32]]
DECODERS = pytest.mark.parametrize(
    "decoder",
    [GreedyDecoder(), BeamSearch(BeamConfig(beam_size=4, nbest=2))],
    ids=["greedy", "beam"],
)


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
    features: FeaturesConfig | None = None,
    conditions: bool = False,
) -> AcousticModel:
    torch.manual_seed(0)
    section = Pair(encoder, word, conditions).section(
        dropout=0.1, subsampling={"factor": factor, "channels": 8}
    )
    features = features or FeaturesConfig(mel_bins=20)
    model = build_model(
        parse_encoder(section), vocab_size=letters.vocab_size, feature_size=features.mel_bins
    )
    statistics = Normalisation(mean=(8.0,) * 20, standard_deviation=(3.0,) * 20, frames=1)
    extractor = FeatureExtractor(
        features, statistics if features.normalisation == "global" else None
    )
    return AcousticModel(extractor, model)


@pytest.fixture(params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    assert isinstance(request.param, Pair)
    return request.param


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


@pytest.mark.parametrize("mode", [chunked(4), chunked(4, 8)], ids=["all", "left"])
def test_streams_equal_one_pass(
    letters: Tokenizer, noise: NoiseMaker, pair: Pair, mode: Mode
) -> None:
    whole = build(letters, pair.encoder, pair.word)
    try:
        model = whole.under(mode)
    except ValueError as error:
        # The mechanism says what it cannot do.
        assert "expected" in str(error)  # noqa: PT017
        capabilities = ATTENTION[pair.word].config.__name__
        assert capabilities.removesuffix("Config") in str(error)  # noqa: PT017
        return
    assert_equals_one_pass(model, letters, waveforms(noise))


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
    features = FeaturesConfig(mel_bins=20, window_seconds=window_seconds)
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


@pytest.fixture(scope="module")
def recognizer(tiny_experiment: Path) -> Recognizer:
    return load(tiny_experiment)


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


@DECODERS
def test_silence_leaves_the_state_as_large_as_it_was(
    letters: Tokenizer, pair: Pair, decoder: Decoder[Any]
) -> None:
    whole = build(letters, pair.encoder, pair.word)
    with torch.no_grad():
        # Silence is blank.
        whole.model.head.projection.bias[0] = 100.0
    try:
        model = whole.under(chunked(8, 16))
    except ValueError:
        try:
            model = whole.under(chunked(8))
        except ValueError:
            return
        if "T m" not in [each.capabilities.memory for each in _attentions(model)]:
            return
    batch = StreamBatch(model, letters, decoder)
    found = []
    for _ in range(6):
        # Longer than any span that the mechanisms remember of their own accord.
        batch.accept([torch.zeros(6 * 8 * FRAME_SAMPLES)])
        found.append((sizes(batch.encoder_state), sizes(batch.decoder_state)))
    assert found[1] == found[2] == found[-1]
    assert sum(found[-1][0]) > 0
    [hypothesis] = batch.finish()
    assert (hypothesis.text, hypothesis.duration_seconds) == ("", 36 * 8 * 0.04)


def _attentions(model: AcousticModel) -> list[Any]:
    from asr.model.attention import Attention

    return [each for each in model.model.modules() if isinstance(each, Attention)]


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


@pytest.mark.parametrize(
    ("chunk_seconds", "left_seconds", "message"),
    [
        (0.0, None, "chunk_seconds above 0, found 0.0"),
        (float("nan"), None, "chunk_seconds above 0"),
        (0.3, -1.0, "left_seconds of at least 0, found -1.0"),
    ],
)
def test_spans_are_checked(
    recognizer: Recognizer, chunk_seconds: float, left_seconds: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        recognizer.stream(chunk_seconds=chunk_seconds, left_seconds=left_seconds)


def test_normalisation_by_utterance_cannot_stream(letters: Tokenizer) -> None:
    features = FeaturesConfig(mel_bins=20, normalisation="utterance")
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
        (torch.zeros(10), 0, ValueError, "sample rate in Hz above 0"),
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
