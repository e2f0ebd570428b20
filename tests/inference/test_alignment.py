from pathlib import Path

import numpy as np
import pytest
import torch

from asr.ctc.forced_alignment import align_labels
from asr.inference.alignment import Aligner
from asr.inference.long_recordings import LongformConfig
from asr.recognizer import Recognizer, load
from tests.conftest import NoiseMaker

RATE_HZ = 16000


def test_the_transcript_of_greedy_decoding_is_aligned_as_it_was_decoded(
    recognizer: Recognizer, noise: NoiseMaker
) -> None:
    audio = (noise(4.0, seed=3), RATE_HZ)
    [decoded] = recognizer.transcribe([audio])
    aligned = Aligner(recognizer.acoustic_model, recognizer.tokenizer).align(audio, decoded.text)
    assert aligned.text == decoded.text
    assert len(aligned.words) > 3
    # Lone word marks at the end are no part of the text, so that the paths may differ in them.
    assert aligned.score <= decoded.score + 1e-3
    found = [(word.start_seconds, word.end_seconds) for word in aligned.words[:3]]
    expected = [(word.start_seconds, word.end_seconds) for word in decoded.words[:3]]
    assert np.allclose(found, expected, atol=0.2)


def test_only_frames_of_the_audio_are_aligned(recognizer: Recognizer, noise: NoiseMaker) -> None:
    samples, text = noise(1.0), "lazy dog"
    posteriors = recognizer.acoustic_model.posteriors([torch.from_numpy(samples)])
    assert posteriors.log_probs.shape[1] > posteriors.lengths
    labels = recognizer.tokenizer.encode(text)
    [expected] = align_labels(posteriors.log_probs, posteriors.lengths, [labels])
    aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer)
    assert aligner.align((samples, RATE_HZ), text).score == expected.score


def test_windows_cover_a_long_recording(recognizer: Recognizer, noise: NoiseMaker) -> None:
    audio = (np.tile(noise(6.0, seed=5), 4), RATE_HZ)
    text = "quick brown fox jumps over a lazy dog"
    model = recognizer.acoustic_model
    whole = Aligner(model, recognizer.tokenizer).align(audio, text)
    config = LongformConfig(limit_seconds=8.0, window_seconds=8.0, context_seconds=3.0)
    windows = Aligner(model, recognizer.tokenizer, longform=config).align(audio, text)
    assert [word.word for word in windows.words] == [word.word for word in whole.words]
    assert windows.duration_seconds == whole.duration_seconds == 24.0
    assert windows.score == pytest.approx(whole.score, rel=0.05)


def test_text_without_words(recognizer: Recognizer, noise: NoiseMaker) -> None:
    aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer)
    with pytest.raises(ValueError, match="expected a transcript with words, found '!'"):
        aligner.align((noise(1.0), RATE_HZ), "!")


def test_times_of_aligned_words_begin_there_too(tiny_experiment: Path, noise: NoiseMaker) -> None:
    recognizer = load(tiny_experiment)
    model, samples = recognizer.acoustic_model, noise(1.0)
    posteriors = model.posteriors([torch.from_numpy(samples)])
    labels = recognizer.tokenizer.encode("A")
    [expected] = align_labels(posteriors.log_probs, posteriors.lengths, [labels])
    [word] = Aligner(model, recognizer.tokenizer).align((samples, RATE_HZ), "A").words
    mark, letter = expected.tokens
    frames = ((mark.start_frame + mark.end_frame) / 2, letter.end_frame)
    times = [model.frame_offset_seconds + frame * model.frame_seconds for frame in frames]
    assert [word.start_seconds, word.end_seconds] == pytest.approx(times)
