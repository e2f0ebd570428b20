import torch
from torch import Tensor, nn

from asr.training.muon import Muon, orthogonalised


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 24))


def _matrices(network: nn.Sequential) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.dim() == 2]


def _vectors(network: nn.Sequential) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.dim() == 1]


def _muon(network: nn.Sequential) -> Muon:
    return Muon(
        _matrices(network),
        [{"params": _vectors(network), "weight_decay": 0.0}],
        learning_rate=1e-2,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        epsilon=1e-9,
    )


def _descend(network: nn.Sequential, *optimizers: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        loss = network(torch.randn(16, 8, generator=generator)).square().mean()
        network.zero_grad()
        torch.autograd.backward(loss)
        for optimizer in optimizers:
            optimizer.step()


def test_singular_values_come_near_one() -> None:
    matrices = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))
    for update in (orthogonalised(matrices), orthogonalised(matrices.transpose(1, 2))):
        values = torch.linalg.svdvals(update)
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_equals_the_iteration_as_published() -> None:
    matrices = torch.randn(2, 5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalised(matrices), x.float(), atol=1e-4, rtol=1e-4)


def test_equals_torchs_muon_and_adamw() -> None:
    ours, theirs = _network(), _network()
    _descend(ours, _muon(ours), steps=1)
    muon = torch.optim.Muon(
        _matrices(theirs), lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        _vectors(theirs), lr=1e-2, weight_decay=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True
    )
    _descend(theirs, muon, adamw, steps=1)
    for our, their, first in zip(
        ours.parameters(), theirs.parameters(), _network().parameters(), strict=True
    ):
        if our.dim() == 1:
            assert torch.equal(our, their)
        else:
            # Torch iterates in bfloat16, which moves small singular values.
            steps = torch.stack([our - first, their - first]).flatten(1)
            assert torch.cosine_similarity(steps[0], steps[1], dim=0) > 0.98
            torch.testing.assert_close(steps[0].norm(), steps[1].norm(), atol=0, rtol=0.05)


def test_goes_on_from_its_saved_state() -> None:
    whole, part = _network(), _network()
    optimizer = _muon(whole)
    _descend(whole, optimizer, steps=3)
    _descend(whole, optimizer, steps=3)
    first = _muon(part)
    _descend(part, first, steps=3)
    second = _muon(part)
    second.load_state_dict(first.state_dict())
    _descend(part, second, steps=3)
    for one, other in zip(whole.parameters(), part.parameters(), strict=True):
        assert torch.equal(one, other)


def test_muon_steps_along_nesterovs_look_ahead() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.nn.Parameter(torch.zeros(4, 6))
    vector = torch.nn.Parameter(torch.zeros(6))
    muon = Muon(
        [matrix],
        [{"params": [vector]}],
        learning_rate=0.1,
        weight_decay=0.0,
        betas=(0.9, 0.98),
        epsilon=1e-9,
    )
    mean, expected = torch.zeros(4, 6), torch.zeros(4, 6)
    for _ in range(4):
        matrix.grad = torch.randn(4, 6, generator=generator)
        vector.grad = torch.zeros(6)
        mean = 0.95 * mean + 0.05 * matrix.grad
        ahead = 0.05 * matrix.grad + 0.95 * mean
        expected -= 0.1 * 0.2 * 6**0.5 * orthogonalised(ahead.unsqueeze(0))[0]
        muon.step()
    torch.testing.assert_close(matrix.detach(), expected)
