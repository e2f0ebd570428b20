import pytest
import torch

from asr.decoding.pauses import cut_at_pauses


def cuts(labels: str, longest_frames: int) -> list[str]:
    """The stretches of a recording whose frames' best labels are given, `-` the blank."""
    best = torch.tensor([0 if label == "-" else 1 for label in labels], dtype=torch.int64)
    log_probs = torch.nn.functional.one_hot(best, 3).float()
    return [labels[stretch] for stretch in cut_at_pauses(log_probs, longest_frames)]


@pytest.mark.parametrize("labels", ["", "a", "a---b--a"])
def test_short_recordings_stay_whole(labels: str) -> None:
    assert cuts(labels, 8) == [labels]


def test_cuts_lie_in_the_longest_pauses() -> None:
    # The long pause at the beginning lies in no second half.
    assert cuts("a-----bab-a---b-aa--ab", 16) == ["a-----bab-a-", "--b-aa--ab"]


def test_every_stretch_is_short_enough_without_a_pause() -> None:
    assert cuts("aaaaaaaaaa", 4) == ["aaaa", "aaaa", "aa"]
    assert cuts("----------", 1) == ["-"] * 10
    assert cuts("aaa", 1) == ["a"] * 3
