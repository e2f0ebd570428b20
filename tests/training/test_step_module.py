import torch

from asr.model import build_model
from asr.model.ctc import ctc_losses
from asr.model.encoders import parse_encoder
from asr.training.step_module import CtcStep


def test_intermediate_loss_has_its_share_in_training_alone() -> None:
    torch.manual_seed(0)
    section = {
        "encoder": "conformer",
        "width": 16,
        "layers": 3,
        "heads": 2,
        "kernel_frames": 5,
        "dropout": 0.0,
        "norm": "layer",
        "subsampling": {"factor": 4, "channels": 4},
        "attention": {"kind": "full"},
        "intermediate_layers": [1, 2],
        "intermediate_weight": 0.3,
    }
    model = build_model(parse_encoder(section), vocab_size=5, feature_size=20)
    batch = (torch.randn(2, 60, 20), torch.tensor([60, 50]))
    labels = (torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    output = model.train()(*batch)
    heads = (output.log_probs, *output.intermediate_log_probs)
    final, first, second = (ctc_losses(probs, output.lengths, *labels) for probs in heads)
    mixed = CtcStep(model)(*batch, *labels)["nats"]
    torch.testing.assert_close(mixed, 0.7 * final + 0.3 * (first + second) / 2)
    torch.testing.assert_close(CtcStep(model).eval()(*batch, *labels)["nats"], final)
