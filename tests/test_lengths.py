import pytest
import torch

from asr.lengths import rounded_length, strided_length, valid_mask


def test_valid_mask_marks_each_items_own_frames() -> None:
    mask = valid_mask(torch.tensor([0, 2, 3]), 3)
    assert mask.tolist() == [[False, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (5, 3, 2), (1, 1, 0)]
)
def test_strided_length_is_what_a_convolution_gives(
    length: int, kernel: int, stride: int, padding: int
) -> None:
    if length + 2 * padding < kernel:
        assert strided_length(length, kernel=kernel, stride=stride, padding=padding) == 0
        return
    output = torch.conv1d(
        torch.zeros(1, 1, length), torch.zeros(1, 1, kernel), stride=stride, padding=padding
    )
    expected = output.shape[2]
    assert strided_length(length, kernel=kernel, stride=stride, padding=padding) == expected
    tensor = strided_length(torch.tensor([length]), kernel=kernel, stride=stride, padding=padding)
    assert tensor.tolist() == [expected]


def test_rounded_lengths_are_few_and_near() -> None:
    rounded = [rounded_length(length) for length in range(1, 4000)]
    assert all(after >= before for after, before in zip(rounded, range(1, 4000), strict=True))
    assert max(after / max(before, 512) for before, after in enumerate(rounded, 1)) <= 1.125
    assert len(set(rounded)) <= 32
