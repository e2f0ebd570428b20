"""What stands on the contract of an acoustic model needs no torch module behind it."""

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr import inference
from asr.ctc import BeamConfig, BeamSearch
from asr.inference.acoustic_model import AcousticModel, ChunkedModel, Posteriors
from asr.inference.alignment import Aligner
from asr.inference.long_recordings import LongformConfig, LongformMethod
from asr.inference.rescoring import IMPOSSIBLE, text_log_probs
from asr.model.attention import OFFLINE, Mode
from asr.recognizer import Recognizer
from asr.tokens.tokenizer import Tokenizer

RATE_HZ = 8000
FRAME_SAMPLES = 320
_STEP = 1 / 64


class TableModel:
    """Log-probabilities by the level of a frame's samples: label n where they are n steps high."""

    device = torch.device("cpu")
    sample_rate_hz = RATE_HZ
    frame_samples = FRAME_SAMPLES
    frame_seconds = 0.04
    frame_offset_seconds = 0.0
    lookahead_samples = 0
    mode = OFFLINE

    def __init__(self, output_size: int) -> None:
        self.output_size = output_size
        self.passes: list[int] = []

    def output_frames(self, samples: int) -> int:
        return samples // FRAME_SAMPLES

    def pass_bytes(self, frames: int) -> int:
        return 4 * self.output_size * frames

    def posteriors(self, waveforms: Sequence[Tensor]) -> Posteriors:
        rows = []
        for waveform in waveforms:
            self.passes.append(len(waveform))
            whole = self.output_frames(len(waveform)) * FRAME_SAMPLES
            frames = waveform[:whole].view(-1, FRAME_SAMPLES)
            # (time, sample)
            labels = (frames.mean(dim=1) / _STEP).round().long()
            rows.append((8.0 * torch.eye(self.output_size)[labels]).log_softmax(dim=1))
        return Posteriors(
            log_probs=pad_sequence(rows, batch_first=True),
            lengths=torch.tensor([len(row) for row in rows]),
        )

    def under(self, mode: Mode) -> AcousticModel:
        raise ValueError(f"expected mode 'offline', found {mode.kind!r}; decode whole recordings")

    def chunked_model(self) -> ChunkedModel:
        raise ValueError("expected a model that can stream, found a table; decode recordings")


def speech(text: str, letters: Tokenizer, *, repeats: int = 1) -> Tensor:
    """Two frames a label, and one of blank after it."""
    labels = letters.encode(text) * repeats
    frames = torch.tensor([[label, label, 0] for label in labels]).flatten()
    return (_STEP * frames.float()).repeat_interleave(FRAME_SAMPLES)


@pytest.fixture
def model(letters: Tokenizer) -> TableModel:
    return TableModel(letters.vocab_size + 1)


def test_short_recordings_of_files_and_samples(
    model: TableModel, letters: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech("the fox", letters).numpy(), RATE_HZ, subtype="FLOAT")
    recognizer = Recognizer(model, letters)
    dog = (speech("lazy dog", letters).numpy(), RATE_HZ)
    nothing = (torch.zeros(100).numpy(), RATE_HZ)
    found = recognizer.transcribe([path, dog, nothing])
    assert [item.text for item in found] == ["THE FOX", "LAZY DOG", ""]
    # A mark before each word and a letter take three frames each.
    times = [(word.start_seconds, word.end_seconds) for word in found[0].words]
    assert times == [pytest.approx((0.02, 0.44), abs=0.041), pytest.approx((0.5, 0.92), abs=0.041)]
    searched = Recognizer(model, letters, decoder=BeamSearch(BeamConfig(beam_size=4)))
    assert [item.text for item in searched.transcribe([path, dog])] == ["THE FOX", "LAZY DOG"]


@pytest.mark.parametrize("method", ["windows", "pauses", "whole"])
def test_long_recordings(model: TableModel, letters: Tokenizer, method: LongformMethod) -> None:
    samples = speech("over the lazy dog", letters, repeats=10)
    config = LongformConfig(
        method=method, limit_seconds=3.0, window_seconds=3.0, context_seconds=0.5
    )
    recognizer = Recognizer(model, letters, longform=config)
    [found] = recognizer.transcribe([(samples.numpy(), RATE_HZ)])
    assert found.text == " ".join(["OVER THE LAZY DOG"] * 10)
    assert found.duration_seconds == len(samples) / RATE_HZ > 20
    longest = max(model.passes)
    assert longest == len(samples) if method == "whole" else longest <= 3 * RATE_HZ


def test_memory_is_what_the_model_says(model: TableModel, letters: Tokenizer) -> None:
    samples = speech("over the lazy dog", letters, repeats=10)
    frames = len(samples) // FRAME_SAMPLES
    needed = 4 * model.output_size * frames
    for memory_bytes in (needed, needed - 1):
        config = LongformConfig(method="whole", limit_seconds=20.0, memory_bytes=memory_bytes)
        recognizer = Recognizer(model, letters, longform=config)
        [outcome] = recognizer.outcomes([(samples.numpy(), RATE_HZ)])
        assert (outcome.error is None) == (memory_bytes == needed)


def test_alignment(model: TableModel, letters: Tokenizer) -> None:
    audio = (speech("quick brown fox", letters).numpy(), RATE_HZ)
    aligned = Aligner(model, letters).align(audio, "quick brown fox")
    [decoded] = Recognizer(model, letters).transcribe([audio])
    assert aligned.text == decoded.text == "QUICK BROWN FOX"
    assert [word.start_seconds for word in aligned.words] == pytest.approx(
        [word.start_seconds for word in decoded.words], abs=0.041
    )


def test_rescoring(model: TableModel, letters: Tokenizer) -> None:
    audio = (speech("fox", letters).numpy(), RATE_HZ)
    [found] = text_log_probs(
        [audio],
        [["FOX", "BOX", "FOX " * 30]],
        acoustic_model=model,
        tokenizer=letters,
        batch_seconds=10.0,
    )
    scores = found.log_probs
    assert scores[0] > scores[1] > scores[2] == IMPOSSIBLE


def test_what_cannot_stream_says_so(model: TableModel, letters: Tokenizer) -> None:
    with pytest.raises(ValueError, match="expected mode 'offline', found 'chunked'"):
        Recognizer(model, letters).stream(chunk_seconds=0.32)


def test_only_the_torch_model_knows_networks_and_features() -> None:
    for path in Path(inference.__file__).parent.glob("*.py"):
        imported = {
            node.module
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        known = {name for name in imported if name.startswith(("asr.model", "asr.features"))}
        if path.name == "torch_model.py":
            assert known > {"asr.features.frontend", "asr.model.encoders"}
        else:
            # What a mode is, and nothing of what serves it.
            assert known <= {"asr.model.attention"}, path
