from dataclasses import replace

import torch

from asr.features.spec_augment import SpecAugment, SpecAugmentConfig

_CONFIG = SpecAugmentConfig(
    frequency_masks=2,
    frequency_width_bins=27,
    time_masks=2,
    time_width_frames=100,
    time_fraction=0.2,
)


_NO_MASKS = SpecAugmentConfig(
    frequency_masks=0,
    frequency_width_bins=0,
    time_masks=0,
    time_width_frames=0,
    time_fraction=1.0,
)


def test_masks_are_whole_bands_within_the_limits() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([300] * 60 + [50] * 60)
    augmented = SpecAugment(_CONFIG)(torch.ones(120, 300, 80), lengths)
    assert set(augmented.unique().tolist()) == {0.0, 1.0}
    for item, length in zip(augmented, lengths.tolist(), strict=True):
        hidden_bins = (item == 0).all(dim=0)
        hidden_frames = (item[:length] == 0).all(dim=1)
        assert hidden_bins.sum() <= 2 * 27
        assert hidden_frames.sum() <= 2 * int(0.2 * length)
        rest = item[:length][~hidden_frames][:, ~hidden_bins]
        assert rest.all()


def test_masks_cover_the_expected_share() -> None:
    torch.manual_seed(0)
    config = replace(_NO_MASKS, frequency_masks=1, frequency_width_bins=20)
    augmented = SpecAugment(config)(torch.ones(4000, 1, 80), torch.ones(4000, dtype=torch.int64))
    # Widths are uniform on 0 .. 20: the mean is 10 of 80 bins.
    torch.testing.assert_close(
        (augmented == 0).float().mean(), torch.tensor(0.125), atol=0.005, rtol=0
    )


def test_masks_differ_between_items_and_follow_the_generator() -> None:
    features, lengths = torch.ones(2, 300, 80), torch.tensor([300, 300])
    torch.manual_seed(1)
    first = SpecAugment(_CONFIG)(features, lengths)
    again = SpecAugment(_CONFIG)(features, lengths)
    torch.manual_seed(1)
    repeated = SpecAugment(_CONFIG)(features, lengths)
    assert torch.equal(first, repeated)
    assert not torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


def test_time_masks_hide_the_expected_share_of_an_utterance_however_it_is_padded() -> None:
    torch.manual_seed(0)
    config = replace(_NO_MASKS, time_masks=1, time_width_frames=10)
    augmented = SpecAugment(config)(torch.ones(4000, 200, 1), torch.full((4000,), 40))
    hidden = (augmented[:, :40, 0] == 0).float()
    # Widths are uniform on 0 .. 10: the mean is 5 of 40 frames.
    torch.testing.assert_close(hidden.mean(), torch.tensor(0.125), atol=0.005, rtol=0)
    assert hidden.sum(dim=1).max() == 10
    assert augmented[:, 40:].all()
