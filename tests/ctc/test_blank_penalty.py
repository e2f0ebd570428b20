from typing import Any

import pytest
import torch

from asr.ctc.decoder import BlankPenalty, Decoder
from asr.ctc.prefix_beam import BeamConfig, BeamSearch
from asr.transcripts.tokens import Decoded

_LENGTHS = torch.tensor([9, 4])


def _decoded(decoder: Decoder[Any], log_probs: torch.Tensor, *, steps: int) -> list[Decoded]:
    state = decoder.start(2, device=torch.device("cpu"))
    for part in range(steps):
        frames = slice(part * 9 // steps, (part + 1) * 9 // steps)
        here = (_LENGTHS - frames.start).clamp(0, frames.stop - frames.start)
        state = decoder.step(state, log_probs[:, frames], here)
    labels = decoder.best_labels(state)
    found = list(decoder.finish(state))
    assert [[token.label for token in item.best.tokens] for item in found] == labels
    return found


@pytest.mark.parametrize("steps", [1, 3])
def test_another_probability_of_the_blank(steps: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 5)
    penalised = logits - 1.5 * torch.tensor([1.0, 0, 0, 0, 0])
    search = BeamSearch(BeamConfig(beam_size=50, nbest=3))
    found = _decoded(BlankPenalty(search, 1.5), logits.log_softmax(2), steps=steps)
    expected = _decoded(search, penalised.log_softmax(2), steps=steps)
    for one, other in zip(found, expected, strict=True):
        labels = [
            [[token.label for token in each.tokens] for each in item.nbest] for item in (one, other)
        ]
        assert labels[0] == labels[1]
        assert one.best.score == pytest.approx(other.best.score, rel=1e-5)


def test_more_labels_where_blanks_are_likely() -> None:
    log_probs = torch.tensor([0.6, 0.4]).log().expand(2, 9, 2).clone()
    search = BeamSearch(BeamConfig(beam_size=50))
    lengths = {
        penalty: sum(
            len(item.best.tokens)
            for item in _decoded(BlankPenalty(search, penalty), log_probs, steps=1)
        )
        for penalty in (-3.0, 0.0, 0.4)
    }
    assert lengths[-3.0] < lengths[0.0] <= lengths[0.4]
