import pytest
import torch

from asr.ctc.lexicon_beam import longest_pause


def cut(labels: str) -> tuple[str, str]:
    """Both sides of the cut of a stretch whose frames' best labels are given, `-` the blank."""
    best = torch.tensor([0 if label == "-" else 1 for label in labels], dtype=torch.int64)
    frames = longest_pause(torch.nn.functional.one_hot(best, 3).float())
    return labels[:frames], labels[frames:]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # The longest pause of all lies in no second half.
        ("a-----bab-a-", "--b-"),
        ("aaaa---", "-aa--"),
        ("ab-", "-"),
        ("aa-aab", "-"),
        # Without a pause the stretch is taken whole.
        ("--aaa", ""),
        ("-", ""),
        ("a", ""),
    ],
)
def test_cut_lies_in_the_longest_pause_of_the_second_half(before: str, after: str) -> None:
    assert cut(before + after) == (before, after)
