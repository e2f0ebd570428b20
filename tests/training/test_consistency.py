"""CR-CTC: the divergence of two views, how they are made, and what the step does with them."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from asr.config import ExperimentConfig, load_config
from asr.ctc import CtcModel, ctc_losses
from asr.ctc.consistency import ConsistencyConfig, consistency_losses, more_time_masks, two_views
from asr.data.batch import Batch
from asr.features.frontend import Frontend
from asr.features.log_mel import LogMelConfig
from asr.features.spec_augment import SpecAugment, SpecAugmentConfig
from asr.training.objective import CtcObjective, CtcStep

LoadConfig = Callable[..., ExperimentConfig]
TrainTwice = Callable[[ExperimentConfig], Path]
BuildSmall = Callable[..., CtcModel]
_MASKS = SpecAugmentConfig(
    frequency_masks=1,
    frequency_width_bins=6,
    time_masks=2,
    time_width_frames=10,
    time_fraction=0.2,
)


def _log_probs(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 3, generator=generator).log_softmax(dim=2)


def _divergence(target: list[float], found: list[float]) -> float:
    return sum(t * math.log(t / f) for t, f in zip(target, found, strict=True))


def test_divergence_of_known_distributions_over_valid_frames() -> None:
    first = [[[0.5, 0.5], [0.1, 0.9]], [[0.2, 0.8], [0.3, 0.7]]]
    second = [[[0.25, 0.75], [0.6, 0.4]], [[0.9, 0.1], [0.7, 0.3]]]
    found = consistency_losses(torch.tensor(first + second).log(), torch.tensor([2, 1, 2, 1]))

    def both_ways(item: int, frame: int) -> float:
        a, b = first[item][frame], second[item][frame]
        return _divergence(a, b) + _divergence(b, a)

    expected = [(both_ways(0, 0) + both_ways(0, 1)) / 2, both_ways(1, 0) / 2]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_equal_views_cost_nothing() -> None:
    log_probs = _log_probs(0)[:2]
    found = consistency_losses(torch.cat([log_probs, log_probs]), torch.tensor([6, 4, 6, 4]))
    assert torch.equal(found, torch.zeros(2))


def test_targets_take_no_gradient() -> None:
    log_probs = _log_probs(1).requires_grad_()
    torch.autograd.backward(consistency_losses(log_probs, torch.tensor([6, 4, 6, 4])).sum())
    # Of a divergence from a constant target there is left the target: -p / 2.
    first, second = log_probs.detach().exp().chunk(2)
    expected = -torch.cat([second, first]) / 2
    expected[[1, 3], 4:] = 0.0
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, expected)


def test_views_are_masked_apart_in_training_alone(build_small: BuildSmall) -> None:
    torch.manual_seed(0)
    config = LogMelConfig(mel_bins=20, normalisation="utterance")
    objective = CtcObjective(
        build_small(),
        extractor=Frontend(config, None),
        spec_augment=SpecAugment(_MASKS),
        streaming=None,
        consistency=ConsistencyConfig(),
    )
    batch = Batch(
        ids=("a", "b"),
        waveforms=torch.randn(2, 16000),
        waveform_lengths=torch.tensor([16000, 12000]),
        labels=torch.tensor([[1, 2, 3], [4, 0, 0]]),
        label_lengths=torch.tensor([3, 1]),
    )
    features, lengths, labels, label_lengths = objective.inputs(batch, augment=False)
    views, *rest = objective.inputs(batch, augment=True)
    for whole, twice in zip((lengths, labels, label_lengths), rest, strict=True):
        assert torch.equal(twice, torch.cat([whole, whole]))
    assert views.shape == (4, *features.shape[1:])
    hidden = (views == 0) & (torch.cat([features, features]) != 0)
    for item in range(2):
        assert hidden[item].any()
        assert not torch.equal(hidden[item], hidden[item + 2])
    assert torch.equal(views[~hidden], torch.cat([features, features])[~hidden])
    assert objective.amount(batch).item() == 28000 / 16000


def test_a_view_has_more_masks_of_the_same_width() -> None:
    masks = more_time_masks(_MASKS, 2.5)
    assert masks.time_masks == 5
    assert (masks.time_width_frames, masks.time_fraction) == (10, 0.2)
    assert (masks.frequency_masks, masks.frequency_width_bins) == (1, 6)


def _batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, 60, 20, generator=generator)
    labels = torch.tensor([[1, 2, 3], [4, 0, 0]])
    return features, torch.tensor([60, 50]), labels, torch.tensor([3, 1])


@pytest.mark.parametrize("use", ["loss", "condition"])
def test_step_is_the_mean_of_both_views_and_their_divergence(
    use: str, build_small: BuildSmall
) -> None:
    model = build_small(
        intermediate_layers=[1], intermediate_weight=0.3, intermediate_use=use
    ).train()
    step = CtcStep(model, consistency=ConsistencyConfig(weight=0.5)).train()
    features, *rest = _batch()
    other = features.flip(dims=[2])
    found = step(torch.cat([features, other]), *two_views(*rest))
    lengths, *labels = rest
    nats, divergence, outputs = torch.zeros(2), 0.0, []
    for view in (features, other):
        output = model(view, lengths)
        final, inner = (
            ctc_losses(probs, output.lengths, *labels)
            for probs in (output.log_probs, output.intermediate_log_probs[0])
        )
        nats += (0.7 * final + 0.3 * inner) / 2
        outputs.append(output.log_probs.detach())
    for item, frames in enumerate(output.lengths.tolist()):
        a, b = (probs[item, :frames] for probs in outputs)
        divergence += ((a.exp() - b.exp()) * (a - b)).sum().item() / 2
    torch.testing.assert_close(found.nats, nats)
    assert found.consistency.item() == pytest.approx(divergence / 4, rel=1e-4)
    torch.testing.assert_close(found.auxiliary, 0.5 * found.consistency)
    assert not found.consistency.requires_grad


def test_step_evaluates_one_view(build_small: BuildSmall) -> None:
    model = build_small()
    with_views = CtcStep(model, consistency=ConsistencyConfig()).eval()(*_batch())
    plain = CtcStep(model).eval()(*_batch())
    assert with_views.consistency is plain.consistency is None
    assert torch.equal(with_views.nats, plain.nats)
    assert with_views.auxiliary.item() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0.0}, "weight"),
        ({"time_mask_factor": 0.9}, "time_mask_factor"),
        ({"wieght": 0.2}, "wieght"),
    ],
)
def test_wrong_values_are_named(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConsistencyConfig(**settings)


def test_masks_are_required(corpus: Path, tmp_path: Path) -> None:
    text = (corpus / "config.toml").read_text()
    head, _, tail = text.partition("[augmentation.spec_augment]")
    path = tmp_path / "config.toml"
    path.write_text(head + tail[tail.index("[model]") :] + "\n[training.consistency]\n")
    with pytest.raises(ValueError, match=r"expected \[augmentation.spec_augment\] with"):
        load_config(path)


@pytest.mark.slow
def test_a_run_with_all_regularisers_learns_and_resumes_exactly(
    load: LoadConfig, train_whole_and_in_parts: TrainTwice, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(
        "training.consistency.weight=0.2",
        "training.streaming.offline_probability=0.5",
        "training.streaming.chunk_frames=[4]",
        "training.streaming.left_frames=[4]",
        "training.memory_probe=true",
        "training.epochs=6",
        "model.layers=2",
        "model.attention.kind=adaptive_span",
        "model.intermediate_layers=[1]",
        "model.intermediate_weight=0.3",
        "model.intermediate_use=condition",
        "model.stochastic_depth=0.2",
    )
    with caplog.at_level("INFO"):
        experiment = train_whole_and_in_parts(config)
    assert "goes through the model twice, as 8 audio seconds, with 2 time masks" in caplog.text
    with (experiment / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["loss"]]
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.7 * losses[0]
    for row in rows:
        # The rest is the adaptive spans'.
        assert float(row["auxiliary_loss"]) > 0.2 * float(row["consistency_loss"]) > 0
