"""A GPU gives what the CPU gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr.config import ExperimentConfig
from asr.ctc import CtcModel, build_model, ctc_losses
from asr.model.attention import ATTENTION
from asr.model.encoders import parse_encoder
from asr.recognizer import load as load_recognizer
from asr.training.run import train
from tests.conftest import NoiseMaker

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions on a GPU round their inputs to 10 bits otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def _model(word: str, encoder: str) -> CtcModel:
    torch.manual_seed(0)
    section: dict[str, object] = {
        "encoder": encoder,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "dropout": 0.0,
        "subsampling": {"factor": 4, "channels": 8},
        "attention": {"kind": word},
        "intermediate_layers": [1],
        "intermediate_weight": 0.3,
        **({"kernel_frames": 5} if encoder != "transformer" else {}),
    }
    return build_model(parse_encoder(section), vocab_size=9, feature_size=20)


def _losses(model: CtcModel, device: str) -> torch.Tensor:
    model.to(device)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 400, 20, generator=generator).to(device)
    lengths = torch.tensor([400, 321, 100], device=device)
    labels = torch.randint(1, 10, (3, 12), generator=generator).to(device)
    output = model(features, lengths)
    label_lengths = torch.tensor([12, 7, 3], device=device)
    losses = ctc_losses(output.log_probs, output.lengths, labels, label_lengths)
    return losses + sum(output.losses.values(), start=losses.new_zeros(()))


@pytest.mark.parametrize("word", sorted(ATTENTION))
@pytest.mark.parametrize("encoder", ["conformer", "lite_transformer", "transformer"])
def test_losses_and_gradients(word: str, encoder: str) -> None:
    model = _model(word, encoder).train()
    found: dict[str, list[torch.Tensor]] = {}
    for device in ("cpu", "cuda"):
        model.zero_grad()
        losses = _losses(model, device)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        gradients = [item.grad.cpu() for item in model.parameters() if item.grad is not None]
        found[device] = [losses.detach().cpu(), *gradients]
    assert len(found["cpu"]) > 20
    for there, here in zip(found["cuda"], found["cpu"], strict=True):
        assert (there - here).norm() <= 1e-3 * here.norm() + 1e-4


@pytest.mark.parametrize("word", sorted(ATTENTION))
def test_evaluation_has_kernels_of_its_own(word: str) -> None:
    model = _model(word, "conformer").eval()
    with torch.no_grad():
        here, there = _losses(model, "cpu"), _losses(model, "cuda").cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_with_everything_on(
    precision: str, load: Callable[..., ExperimentConfig], tmp_path: Path, noise: NoiseMaker
) -> None:
    config = load(
        "training.accelerator=cuda",
        f"training.precision={precision}",
        "training.optimizer=muon",
        "training.consistency.weight=0.2",
        "training.max_steps=3",
        "model.stochastic_depth=0.1",
    )
    assert train(config, tmp_path / "exp").step == 3
    assert train(config, tmp_path / "exp", resume=True).already_finished
    texts = {}
    for device in ("cpu", "cuda"):
        recognizer = load_recognizer(tmp_path / "exp", device=device)
        texts[device] = [item.text for item in recognizer.transcribe([(noise(3.0), 16000)])]
    assert texts["cuda"] == texts["cpu"]
