import numpy as np
import pytest
import torch
from torchaudio.transforms import Resample

from asr.data.resampling import BlockResampler


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (44100, 16000), (16000, 11025)])
@pytest.mark.parametrize("sizes", [[1, 2, 3], [0, 7, 441, 500], [100000]])
def test_any_blocks_equal_the_whole(from_hz: int, to_hz: int, sizes: list[int]) -> None:
    samples = torch.randn(4001, generator=torch.Generator().manual_seed(0))
    generator = np.random.default_rng(0)
    resampler, parts, place = BlockResampler(from_hz=from_hz, to_hz=to_hz), [], 0
    while place < len(samples):
        size = int(generator.choice(sizes))
        parts.append(resampler.accept(samples[place : place + size]))
        place += size
    parts.append(resampler.finish())
    whole = Resample(from_hz, to_hz)(samples)
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=0)


def test_no_samples() -> None:
    resampler = BlockResampler(from_hz=8000, to_hz=16000)
    assert len(resampler.accept(torch.zeros(0))) == 0
    assert len(resampler.finish()) == 0


def test_too_large_a_filter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"common sampling rate, found 44101 Hz.* convert the"):
        BlockResampler(from_hz=44101, to_hz=16000)
