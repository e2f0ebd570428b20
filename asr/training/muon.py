"""Muon for the matrices inside the blocks, AdamW for everything else."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

_MOMENTUM = 0.95
_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Root mean square of AdamW's usual update, so that one learning rate serves both.
_UPDATE_RMS = 0.2


class Muon(Optimizer):
    """Momentum whose update, for a matrix, is replaced by the nearest orthogonal matrix.

    Args:
        matrices: Weights (output, input) of linear maps.
        groups: AdamW's groups for all other parameters.
        learning_rate: Learning rate of both.
        weight_decay: Decoupled weight decay of the matrices.
        betas: AdamW's.
        epsilon: AdamW's.

    Source: Jordan et al. 2024 (Newton-Schulz iteration); Liu et al. 2025, section 2.2 (the scale of
    the update and weight decay).
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float],
        epsilon: float,
    ) -> None:
        own = {"params": list(matrices), "lr": learning_rate, "weight_decay": weight_decay}
        self._adamw = AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)
        super().__init__([own, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; closures are not supported."""
        assert closure is None
        own, *others = self.param_groups
        self._adamw.param_groups, self._adamw.state = others, self.state
        self._adamw.step()
        matrices = [parameter for parameter in own["params"] if parameter.grad is not None]
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for number, matrix in enumerate(matrices):
            alike[matrix.shape].append(number)
        directions = self._momenta(matrices)
        torch._foreach_mul_(matrices, 1 - own["lr"] * own["weight_decay"])
        for numbers in alike.values():
            updates = orthogonalised(torch.stack([directions[number] for number in numbers]))
            scale = _UPDATE_RMS * max(updates.shape[1:]) ** 0.5
            chosen = [matrices[number] for number in numbers]
            torch._foreach_add_(chosen, updates.unbind(), alpha=-own["lr"] * scale)

    def _momenta(self, matrices: list[Tensor]) -> list[Tensor]:
        """Nesterov's look-ahead along the running means of the gradients."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if "momentum" not in self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        means = [self.state[matrix]["momentum"] for matrix in matrices]
        torch._foreach_lerp_(means, gradients, 1 - _MOMENTUM)
        return list(torch._foreach_lerp(gradients, means, _MOMENTUM))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Bring all singular values near 1.

    Every iterate is a polynomial of the Gram matrix times the first matrix, so that the iterations
    stay in the smaller dimension. In float32: batched products in bfloat16 are slower on the CPU.

    Args:
        matrices: (matrix, row, column).

    Returns:
        (matrix, row, column) float32, with singular values of about 0.7 to 1.2.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.transpose(1, 2)).float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    gram = x @ x.transpose(1, 2)
    product = polynomial = _polynomial(gram)
    for _ in range(_ITERATIONS - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    orthogonal: Tensor = product @ x
    return orthogonal if wide else orthogonal.transpose(1, 2)


def _polynomial(gram: Tensor) -> Tensor:
    """The polynomial a + b G + c G^2 of Gram matrices (matrix, row, row)."""
    a, b, c = _COEFFICIENTS
    polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    polynomial.diagonal(dim1=1, dim2=2).add_(a)
    return polynomial
