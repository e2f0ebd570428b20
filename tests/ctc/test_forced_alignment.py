import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchaudio.functional import forced_align

from asr.ctc import forced_alignment, minimum_frames
from asr.ctc.forced_alignment import align_labels
from asr.transcripts.tokens import TokenSequence


def spread(*rows: tuple[int, float], vocab: int = 4) -> Tensor:
    """(1, time, vocab) log-probabilities; each frame gives one label its probability."""
    probabilities = torch.empty(1, len(rows), vocab, dtype=torch.float64)
    for time, (label, probability) in enumerate(rows):
        probabilities[0, time] = (1 - probability) / (vocab - 1)
        probabilities[0, time, label] = probability
    return probabilities.log()


def random_log_probs(frames: int, vocab: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(1, frames, vocab, generator=generator)).log_softmax(dim=2)


def align_one(log_probs: Tensor, labels: list[int]) -> TokenSequence:
    [found] = align_labels(log_probs, torch.tensor([log_probs.shape[1]]), [labels])
    return found


def spans(found: TokenSequence) -> list[tuple[int, int, int]]:
    return [(token.label, token.start_frame, token.end_frame) for token in found.tokens]


def brute_force(log_probs: Tensor, labels: list[int]) -> tuple[float, tuple[int, ...]]:
    """The best of all paths."""
    frames, vocab = log_probs.shape
    best: tuple[float, tuple[int, ...]] = (-math.inf, ())
    for path in itertools.product(range(vocab), repeat=frames):
        collapsed = [label for label, _ in itertools.groupby(path) if label != 0]
        if collapsed == labels:
            score = sum(log_probs[time, label].item() for time, label in enumerate(path))
            best = max(best, (score, path))
    return best


@pytest.fixture(params=["kernel", "blocks"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to align, the second with blocks far shorter than the input."""
    if request.param == "blocks":
        monkeypatch.setattr(forced_alignment, "_MOST_KERNEL_CELLS", 0)
        monkeypatch.setattr(forced_alignment, "_BLOCK_FRAMES", 3)


@pytest.mark.usefixtures("method")
def test_by_hand() -> None:
    rows = [(0, 0.9), (2, 0.7), (2, 0.8), (0, 0.9), (2, 0.6), (1, 0.7), (0, 0.9)]
    found = align_one(spread(*rows), [2, 2, 1])
    assert spans(found) == [(2, 1, 3), (2, 4, 5), (1, 5, 6)]
    assert [token.posterior for token in found.tokens] == pytest.approx([0.8, 0.6, 0.7])
    assert found.score == pytest.approx(sum(math.log(p) for _, p in rows))


@pytest.mark.usefixtures("method")
def test_the_text_wins_over_the_best_labels() -> None:
    found = align_one(spread((0, 0.9), (2, 0.7), (0, 0.9)), [1])
    assert spans(found) == [(1, 1, 2)]
    assert found.tokens[0].posterior == pytest.approx(0.1)


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize(
    ("labels", "frames"),
    [
        (labels, frames)
        for labels in ([1], [2, 1], [1, 1], [2, 2, 1], [1, 2, 1, 2], [1, 2, 3])
        for frames in (1, 2, 4, 7)
        if frames >= minimum_frames(labels)
    ],
)
def test_equals_brute_force(labels: list[int], frames: int) -> None:
    log_probs = random_log_probs(frames, 4, seed=frames)
    score, path = brute_force(log_probs[0], labels)
    found = align_one(log_probs, labels)
    assert found.score == pytest.approx(score, abs=1e-5)
    covered = {frame: label for label, start, end in spans(found) for frame in range(start, end)}
    assert covered == {frame: label for frame, label in enumerate(path) if label != 0}


@pytest.mark.parametrize(
    ("frames", "tokens"), [(600, 1), (600, 30), (700, 350), (257, 120), (256, 100), (1030, 400)]
)
def test_blocks_equal_the_kernel(frames: int, tokens: int) -> None:
    log_probs = random_log_probs(frames, 9, seed=tokens)[0].double()
    generator = torch.Generator().manual_seed(frames)
    labels = torch.randint(1, 9, (tokens,), generator=generator)
    labels[1::2] = labels[0:-1:2] % 8 + 1
    path = forced_alignment.best_alignment(log_probs.numpy(), labels.numpy())
    expected, _ = forced_align(log_probs.unsqueeze(0), labels.unsqueeze(0))
    assert np.array_equal(path, expected[0].numpy())


@pytest.mark.usefixtures("method")
def test_every_frame_is_needed() -> None:
    log_probs = random_log_probs(4, 3, seed=0)
    found = align_one(log_probs, [1, 1, 2])
    assert spans(found) == [(1, 0, 1), (1, 2, 3), (2, 3, 4)]


def test_items_do_not_see_each_other_or_their_padding() -> None:
    log_probs = random_log_probs(12, 5, seed=1)
    padded = torch.cat([log_probs, torch.full((1, 3, 5), torch.nan)], dim=1)
    batch = torch.cat([padded, torch.zeros(1, 15, 5)])
    found = align_labels(batch, torch.tensor([12, 15]), [[1, 2], [3]])
    assert found[0] == align_one(log_probs, [1, 2])


@pytest.mark.parametrize("frames", [0, 3])
def test_no_labels_are_all_blank(frames: int) -> None:
    log_probs = random_log_probs(frames, 3, seed=2)
    found = align_one(log_probs, [])
    assert found.tokens == ()
    assert found.score == pytest.approx(log_probs[0, :, 0].sum().item())


@pytest.mark.parametrize(("labels", "needed"), [([1, 2, 1, 2], 4), ([1, 1, 1], 5)])
def test_too_few_frames(labels: list[int], needed: int) -> None:
    with pytest.raises(ValueError, match=f"at least {needed} frames for {len(labels)} labels, fou"):
        align_one(random_log_probs(3, 3, seed=0), labels)


@pytest.mark.parametrize("labels", [[0, 1], [1, 3], [-1]])
def test_labels_out_of_range(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected labels in 1 \.\. 2, found"):
        align_one(random_log_probs(5, 3, seed=0), labels)


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_no_possible_path(value: float) -> None:
    log_probs = random_log_probs(5, 3, seed=0)
    log_probs[:, :, 1] = value
    with pytest.raises(ValueError, match="expected a path of finite log-probability for 2 labels"):
        align_one(log_probs, [2, 1])
