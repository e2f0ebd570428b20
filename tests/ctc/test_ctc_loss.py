import itertools

import pytest
import torch

from asr.ctc import BLANK, CtcHead, ctc_losses, minimum_frames


def _collapse(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [2, 2], [1, 2, 1]])
def test_loss_equals_sum_over_all_alignments(labels: list[int]) -> None:
    log_probs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
    likelihood = sum(
        float(log_probs[range(5), path].sum().exp())
        for path in itertools.product(range(3), repeat=5)
        if _collapse(path) == labels
    )
    padded = torch.nn.functional.pad(log_probs, (0, 0, 0, 4), value=-1.0).unsqueeze(0)
    losses = ctc_losses(
        padded,
        torch.tensor([5]),
        torch.tensor([labels + [0] * (4 - len(labels))]),
        torch.tensor([len(labels)]),
    )
    torch.testing.assert_close(losses, -torch.tensor([likelihood]).log(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 2], [1, 1, 1]])
def test_minimum_frames_is_where_the_loss_becomes_finite(labels: list[int]) -> None:
    log_probs = torch.zeros(1, 8, 3).log_softmax(dim=2)
    least = minimum_frames(labels)
    targets, count = torch.tensor([labels]), torch.tensor([len(labels)])
    assert ctc_losses(log_probs, torch.tensor([least]), targets, count).isfinite().all()
    assert ctc_losses(log_probs, torch.tensor([least - 1]), targets, count).isinf().all()


def test_head_stays_in_float32() -> None:
    head = CtcHead(width=4, vocab_size=6)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs = head(torch.randn(2, 3, 4).bfloat16())
    assert log_probs.dtype == torch.float32
    assert log_probs.shape == (2, 3, 7)
    torch.testing.assert_close(log_probs.exp().sum(dim=2), torch.ones(2, 3))
