from collections.abc import Callable

import torch

from asr.ctc import CtcModel, ctc_losses
from asr.training.objective import CtcStep

BuildSmall = Callable[..., CtcModel]


def test_intermediate_loss_has_its_share_in_training_alone(build_small: BuildSmall) -> None:
    model = build_small(intermediate_layers=[1, 2], intermediate_weight=0.3)
    batch = (torch.randn(2, 60, 20), torch.tensor([60, 50]))
    labels = (torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    output = model.train()(*batch)
    heads = (output.log_probs, *output.intermediate_log_probs)
    final, first, second = (ctc_losses(probs, output.lengths, *labels) for probs in heads)
    mixed = CtcStep(model)(*batch, *labels).nats
    torch.testing.assert_close(mixed, 0.7 * final + 0.3 * (first + second) / 2)
    torch.testing.assert_close(CtcStep(model).eval()(*batch, *labels).nats, final)
