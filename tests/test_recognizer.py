import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr.ctc.decoder import Decoder
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.data.manifest import Utterance
from asr.inference.audio_input import AudioInput
from asr.recognizer import Recognizer, load
from tests.conftest import NoiseMaker

RATE_HZ = 16000


def test_order_is_kept_and_batches_change_nothing(
    tiny_experiment: Path, noise: NoiseMaker, decoder: Decoder[Any]
) -> None:
    recognizer = load(tiny_experiment, decoder=decoder)
    seconds = [0.9, 3.1, 2.2, 0.4, 3.0, 1.7, 2.25, 0.05, 1.0]
    inputs = [(noise(length, seed=seed), RATE_HZ) for seed, length in enumerate(seconds)]
    alone = [recognizer.transcribe([item])[0] for item in inputs]
    assert len({hypothesis.text for hypothesis in alone}) > 5
    assert [hypothesis.duration_seconds for hypothesis in alone] == pytest.approx(seconds)
    for batch_seconds in (1.0, 7.0, 1000.0):
        batched = recognizer.transcribe(inputs, batch_seconds=batch_seconds)
        assert [item.text for item in batched] == [item.text for item in alone]
        for one, other in zip(alone, batched, strict=True):
            assert other.score == pytest.approx(one.score, abs=1e-2)
            assert [word.start_seconds for word in other.words] == [
                word.start_seconds for word in one.words
            ]


def test_words_lie_within_the_audio(
    tiny_experiment: Path, noise: NoiseMaker, decoder: Decoder[Any]
) -> None:
    [hypothesis] = load(tiny_experiment, decoder=decoder).transcribe([(noise(3.0), RATE_HZ)])
    assert hypothesis.words
    times = [t for word in hypothesis.words for t in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= hypothesis.duration_seconds
    assert all(0 < word.confidence <= 1 for word in hypothesis.words)


def test_beam_search_is_the_decoders(
    tiny_experiment: Path, recognizer: Recognizer, noise: NoiseMaker
) -> None:
    beam = BeamSearch(BeamConfig(beam_size=8, nbest=3))
    loaded = load(tiny_experiment, decoder=beam)
    inputs = [(noise(2.0), RATE_HZ), (noise(0.01), RATE_HZ)]
    found, nothing = loaded.transcribe(inputs)
    posteriors = loaded.acoustic_model.posteriors([torch.from_numpy(inputs[0][0])])
    state = beam.start(1, device=loaded.acoustic_model.device)
    [decoded] = beam.finish(beam.step(state, posteriors.log_probs, posteriors.lengths))
    spelled = [
        "".join(loaded.tokenizer.pieces[token.label - 1] for token in item.tokens)
        for item in decoded.nbest
    ]
    # The unknown piece has a text of its own.
    expected = [text.replace("\u2581", "").replace("<unk>", " ⁇ ") for text in spelled]
    assert ["".join(item.text.split()) for item in found.nbest] == [
        "".join(text.split()) for text in expected
    ]
    assert [item.score for item in found.nbest] == pytest.approx(
        [item.score for item in decoded.nbest], abs=1e-3
    )
    assert (found.text, found.score) == (found.nbest[0].text, found.nbest[0].score)
    # The tiny model is so unsure that the two ways to decode differ.
    assert recognizer.transcribe(inputs)[0].text != found.text
    assert [(item.text, item.score) for item in nothing.nbest] == [("", 0.0)]


def test_inputs_of_every_kind(recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path) -> None:
    samples = noise(2.0)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    padded = np.concatenate([np.zeros(RATE_HZ, np.float32), samples])
    soundfile.write(tmp_path / "b.wav", padded, RATE_HZ, subtype="FLOAT")
    stretch = Utterance(
        id="b", audio_filepath=tmp_path / "b.wav", duration_seconds=2.0, offset_seconds=1.0
    )
    inputs: list[AudioInput] = [path, str(path), (samples, RATE_HZ), stretch]
    inputs.append((torch.from_numpy(samples), RATE_HZ))
    texts = {hypothesis.text for hypothesis in recognizer.transcribe(inputs)}
    assert len(texts) == 1
    assert texts != {""}


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (48000, 2)])
def test_other_rates_and_stereo(
    recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path, rate_hz: int, channels: int
) -> None:
    samples = np.stack([noise(1.5, rate_hz=rate_hz)] * channels, axis=1)
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, rate_hz)
    [hypothesis] = recognizer.transcribe([path])
    assert hypothesis.duration_seconds == pytest.approx(1.5)
    assert hypothesis.text


@pytest.mark.parametrize("seconds", [0.001, 0.05])
def test_too_short_clip_is_empty_with_a_warning(
    recognizer: Recognizer, noise: NoiseMaker, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    with caplog.at_level(logging.WARNING):
        [hypothesis] = recognizer.transcribe([(noise(seconds), RATE_HZ)])
    assert (hypothesis.text, hypothesis.score, hypothesis.words) == ("", 0.0, ())
    assert hypothesis.duration_seconds == pytest.approx(seconds)
    [message] = caplog.messages
    assert f"found {seconds:.3f} s; the hypothesis is empty" in message


def test_no_inputs(recognizer: Recognizer) -> None:
    assert recognizer.transcribe([]) == []


def test_transcribe_raises_what_is_wrong(
    recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.flac"):
        recognizer.transcribe([(noise(1.0), RATE_HZ), tmp_path / "none.flac"])


def test_batch_seconds_are_checked(recognizer: Recognizer) -> None:
    for seconds in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="batch_seconds above 0 and finite"):
            recognizer.transcribe([], batch_seconds=seconds)


def test_a_single_path_is_no_list(recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="put it in a list"):
        recognizer.transcribe("a.wav")


def test_one_failing_input_leaves_the_others(
    recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path
) -> None:
    (tmp_path / "text.flac").write_text("not audio")
    good = (noise(1.0), RATE_HZ)
    outcomes = {
        outcome.index: outcome
        for outcome in recognizer.outcomes([good, tmp_path / "text.flac", good])
    }
    first, last = outcomes[0].hypothesis, outcomes[2].hypothesis
    assert first is not None
    assert last is not None
    assert first.text == last.text
    assert [(word.word, word.start_seconds) for word in first.words] == [
        (word.word, word.start_seconds) for word in last.words
    ]
    assert first.duration_seconds == last.duration_seconds
    assert first.score == pytest.approx(last.score, rel=1e-5)
    assert isinstance(outcomes[1].error, ValueError)


def test_log_probs_are_those_of_the_model(
    recognizer: Recognizer, noise: NoiseMaker, tmp_path: Path
) -> None:
    samples = noise(2.0)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    found = recognizer.log_probs(
        [tmp_path / "a.wav", (samples[:RATE_HZ], RATE_HZ), (samples[:9], RATE_HZ)]
    )
    vocab = recognizer.tokenizer.vocab_size + 1
    posteriors = recognizer.acoustic_model.posteriors([torch.from_numpy(samples)])
    frames = int(posteriors.lengths)
    torch.testing.assert_close(found[0], posteriors.log_probs[0, :frames].cpu())
    torch.testing.assert_close(found[0].exp().sum(dim=1), torch.ones(len(found[0])))
    assert found[1].shape == (recognizer.acoustic_model.output_frames(RATE_HZ), vocab)
    assert found[2].shape == (0, vocab)


def test_log_probs_of_a_single_path(recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="put it in a list"):
        recognizer.log_probs("a.wav")


def test_alignment_has_the_words_of_the_text(recognizer: Recognizer, noise: NoiseMaker) -> None:
    found = recognizer.align((noise(2.0), RATE_HZ), "The lazy dog,")
    assert found.text == "THE LAZY DOG"
    times = [t for word in found.words for t in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= found.duration_seconds == 2.0
    with pytest.raises(ValueError, match="expected a transcript with words"):
        recognizer.align((noise(2.0), RATE_HZ), "...")
