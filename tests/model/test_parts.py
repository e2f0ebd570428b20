import pytest
import torch
from torch import nn

from asr.model import subsampling as subsampling_module
from asr.model.attention import OFFLINE
from asr.model.convolution import ConvolutionModule, DepthwiseConvolution, MaskedBatchNorm
from asr.model.dropout import Dropout
from asr.model.sinusoids import sinusoids
from asr.model.subsampling import (
    InputConvolution,
    StridedDepthwiseConvolution,
    Subsampling,
    SubsamplingConfig,
)


def test_masked_batch_norm_equals_torch_on_valid_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(3, 7, 5, generator=generator)
    valid = torch.arange(7) < torch.tensor([[7], [4], [1]])
    ours, theirs = MaskedBatchNorm(5), nn.BatchNorm1d(5)
    for norm in (ours, theirs):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    normalised = ours(x, valid)[valid]
    torch.testing.assert_close(normalised, theirs(x[valid]), atol=1e-5, rtol=1e-5)
    assert theirs.running_mean is not None
    assert theirs.running_var is not None
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_variance, theirs.running_var)
    torch.testing.assert_close(
        ours.eval()(x, valid)[valid], theirs.eval()(x[valid]), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_move_no_statistics(frames: int) -> None:
    norm = MaskedBatchNorm(2)
    assert norm(torch.ones(1, 3, 2), torch.arange(3).unsqueeze(0) < frames).isfinite().all()
    assert norm.running_mean.tolist() == [0, 0]
    assert norm.running_variance.tolist() == [1, 1]


@pytest.mark.parametrize("kernel", [1, 5, 31])
@pytest.mark.parametrize("time", [1, 9, 32, 65])
def test_depthwise_convolution_equals_torch(kernel: int, time: int) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConvolution(width=6, kernel=kernel)
    nn.init.normal_(ours.bias)
    x = torch.randn(2, time, 6)
    expected = nn.functional.conv1d(
        x.transpose(1, 2), ours.weight.unsqueeze(1), ours.bias, padding=kernel // 2, groups=6
    )
    output = ours(x, mode=OFFLINE, state=None).output
    torch.testing.assert_close(output, expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_convolution_module_sees_no_padding(norm: str) -> None:
    module = ConvolutionModule(width=8, kernel=5, norm=norm, dropout=0.0)  # type: ignore[arg-type]
    nn.init.ones_(module.gated.bias)
    x = torch.randn(1, 12, 8)
    padded = torch.cat([x, torch.full((1, 6, 8), 1e3)], dim=1)
    valid = torch.arange(18).unsqueeze(0) < 12
    alone = module(x, torch.ones(1, 12, dtype=torch.bool), mode=OFFLINE).output
    together = module(padded, valid, mode=OFFLINE).output[:, :12]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(3, 3), (8, 9), (11, 20)])
def test_strided_depthwise_convolution_equals_torch(size: tuple[int, int]) -> None:
    ours = StridedDepthwiseConvolution(5)
    image = torch.randn(2, 5, *size)
    expected = nn.functional.conv2d(image, ours.weight, ours.bias, stride=2, groups=5)
    torch.testing.assert_close(ours(image), expected)


@pytest.mark.parametrize("size", [(3, 3), (8, 9), (11, 20)])
def test_input_convolution_equals_torch(size: tuple[int, int]) -> None:
    ours = InputConvolution(5)
    image = torch.randn(2, 1, *size)
    convolved = ours(image)
    assert convolved.is_contiguous(memory_format=torch.channels_last)
    expected = nn.functional.conv2d(image, ours.weight, ours.bias, stride=2)
    torch.testing.assert_close(convolved, expected)


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("time", [40, 256, 257, 300, 519])
def test_subsampling_in_slices_equals_one_pass(
    factor: int, time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = SubsamplingConfig(factor=factor, channels=4)  # type: ignore[arg-type]
    subsampling = Subsampling(config, feature_size=20, width=6)
    features = torch.randn(2, time, 20)
    whole = subsampling(features)
    assert whole.shape[1] == subsampling.output_length(time)
    monkeypatch.setattr(subsampling_module, "_SLICE_FRAMES", 64)
    torch.testing.assert_close(subsampling(features), whole)


def test_dropout_zeroes_a_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.25)
    dropped = dropout(torch.ones(1000, 1000))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    torch.testing.assert_close(dropped.mean(), torch.tensor(1.0), atol=2e-3, rtol=0)
    # Neighbours are independent, along both axes.
    kept = (dropped > 0).float() - 0.75
    for shifted in (kept[1:] * kept[:-1], kept[:, 1:] * kept[:, :-1]):
        torch.testing.assert_close(shifted.mean(), torch.tensor(0.0), atol=2e-3, rtol=0)


def test_dropout_follows_the_generator_and_rests_in_evaluation() -> None:
    dropout, x = Dropout(0.5), torch.ones(50, 50)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_gradient_is_its_mask() -> None:
    x = torch.ones(20, 20, requires_grad=True)
    dropped = Dropout(0.5)(x)
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())


def test_sinusoids_by_hand() -> None:
    table = sinusoids(torch.tensor([0, -2]), 4)
    expected = torch.tensor([[0, 0, 1, 1], [-0.9092974, -0.0199987, -0.4161468, 0.9998]])
    torch.testing.assert_close(table, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [4, 8])
def test_subsampling_equals_its_convolutions_with_a_relu_after_each(factor: int) -> None:
    torch.manual_seed(0)
    config = SubsamplingConfig(factor=factor, channels=3)  # type: ignore[arg-type]
    subsampling = Subsampling(config, feature_size=20, width=6)
    features = torch.randn(2, 40, 20)
    parameters = list(subsampling.convolutions.parameters())
    image = features.unsqueeze(1)
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        depthwise = weight.shape[1] == 1 < image.shape[1]
        stride = 2 if weight.shape[2] == 3 else 1
        groups = image.shape[1] if depthwise else 1
        image = nn.functional.conv2d(image, weight, bias, stride, groups=groups)
        if not depthwise:
            image = image.relu()
    expected = subsampling.projection(image.permute(0, 2, 3, 1).flatten(2))
    torch.testing.assert_close(subsampling(features), expected)
