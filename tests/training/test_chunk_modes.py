"""Chunks that training draws: which, how often, and what the step does with them."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from asr.config import ExperimentConfig
from asr.ctc import CtcModel
from asr.model.attention import OFFLINE, chunked
from asr.recognizer import load as load_recognizer
from asr.training.config import StreamingTrainingConfig
from asr.training.objective import ChunkModes, CtcStep

LoadConfig = Callable[..., ExperimentConfig]
TrainTwice = Callable[[ExperimentConfig], Path]
BuildSmall = Callable[..., CtcModel]
CONFIG = StreamingTrainingConfig(
    offline_probability=0.4, chunk_frames=(8, 2), left_frames=("all", 4, 0)
)
STREAMING = (
    "training.streaming.offline_probability=0.3",
    "training.streaming.chunk_frames=[4, 2]",
    'training.streaming.left_frames=[4, "all"]',
)


def test_modes_are_drawn_as_often_as_asked_for(build_small: BuildSmall) -> None:
    modes = ChunkModes(CONFIG, build_small().encoder)
    torch.manual_seed(1)
    drawn = Counter(modes.draw() for _ in range(6000))
    # Five standard deviations of a share of 0.4 and of one of 0.1 in 6000 draws.
    assert drawn.pop(OFFLINE) / 6000 == pytest.approx(0.4, abs=0.032)
    assert set(drawn) == {chunked(c, left) for c in (2, 8) for left in (None, 4, 0)}
    assert all(count / 6000 == pytest.approx(0.1, abs=0.02) for count in drawn.values())


def test_the_seed_is_all_that_a_draw_depends_on(build_small: BuildSmall) -> None:
    modes = ChunkModes(CONFIG, build_small().encoder)
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        runs.append([modes.draw() for _ in range(20)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 3


def test_shortest_and_largest_mode(build_small: BuildSmall) -> None:
    encoder = build_small().encoder
    assert ChunkModes(CONFIG, encoder).shortest == chunked(2, 0)
    assert ChunkModes(CONFIG, encoder).largest == OFFLINE
    everything = StreamingTrainingConfig(
        offline_probability=0.0, chunk_frames=(3,), left_frames=("all",)
    )
    modes = ChunkModes(everything, encoder)
    assert modes.shortest == modes.largest == chunked(3)
    assert {modes.draw() for _ in range(20)} == {chunked(3)}


@pytest.mark.parametrize(
    ("word", "message"),
    [("reformer", "expected a mode among"), ("performer", "left context without a limit")],
)
def test_mechanisms_that_do_not_serve_the_chunks(
    word: str, message: str, build_small: BuildSmall
) -> None:
    with pytest.raises(ValueError, match=message):
        CtcStep(build_small(attention={"kind": word}), streaming=CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offline_probability": 1.0}, "offline_probability"),
        ({"offline_probability": -0.1}, "offline_probability"),
        ({"chunk_frames": ()}, "chunk_frames"),
        ({"chunk_frames": (4, 0)}, "chunk_frames"),
        ({"left_frames": ()}, "left_frames"),
        ({"left_frames": (-1,)}, "left_frames"),
        ({"left_frames": ("none",)}, "left_frames"),
        ({"chunks": (4,)}, "chunks"),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], message: str) -> None:
    right = {"offline_probability": 0.5, "chunk_frames": (8,), "left_frames": (8,)}
    settings: dict[str, object] = {**right, **change}
    with pytest.raises(ValidationError, match=message):
        StreamingTrainingConfig(**settings)  # type: ignore[arg-type]


def test_features_that_cannot_stream_are_refused(load: LoadConfig) -> None:
    with pytest.raises(
        ValueError, match=r"global.* with \[training\.streaming\], found 'utterance'"
    ):
        load(*STREAMING, "features.normalisation=utterance")


def test_step_computes_under_the_mode_that_is_drawn(build_small: BuildSmall) -> None:
    model = build_small(attention={"kind": "alibi"})
    batch = (torch.randn(2, 90, 20), torch.tensor([90, 60]))
    labels = (torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    step = CtcStep(model, streaming=CONFIG).train()
    found = set()
    for seed in range(12):
        torch.manual_seed(seed)
        mode = ChunkModes(CONFIG, model.encoder).draw()
        torch.manual_seed(seed)
        output = step(*batch, *labels)
        assert torch.equal(output.log_probs, model(*batch, mode=mode).log_probs)
        assert output.streaming_log_probs is None
        found.add(mode)
    assert OFFLINE in found
    assert len(found) > 3
    evaluated = step.eval()(*batch, *labels)
    assert torch.equal(evaluated.log_probs, model(*batch).log_probs)
    expected = model(*batch, mode=chunked(2, 0)).log_probs
    assert torch.equal(evaluated.streaming_log_probs, expected)
    assert not torch.allclose(expected, evaluated.log_probs)


@pytest.mark.slow
def test_a_run_with_chunks_learns_resumes_exactly_and_streams(
    load: LoadConfig, train_whole_and_in_parts: TrainTwice
) -> None:
    config = load(*STREAMING, "training.epochs=6")
    experiment = train_whole_and_in_parts(config)
    with (experiment / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert losses[-1] < 0.7 * losses[0]
    validated = [float(row["validation_streaming_wer"]) for row in rows if row["validation_wer"]]
    assert len(validated) == 6
    assert 0 < validated[-1] <= 1

    live = load_recognizer(experiment).stream(chunk_seconds=0.08, left_seconds=0.16)
    live.accept(torch.randn(8000) * 0.01, 16000)
    assert live.finish().duration_seconds == 0.5
