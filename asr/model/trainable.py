"""What training needs of a model beside its forward pass."""

from typing import Any

from torch import Tensor, nn

from asr.model.attention import Attention
from asr.model.stack import Stack


class Trainable(nn.Module):
    """A model with attention in stacks of blocks."""

    def after_step(self) -> None:
        """Call after each optimizer step."""
        for attention in self._attentions():
            attention.after_step()

    def block_matrices(self) -> list[Tensor]:
        """Weights (output, input) of the linear maps inside the blocks."""
        stacks = [module for module in self.modules() if isinstance(module, Stack)]
        inner = [module for stack in stacks for module in stack.modules()]
        return [module.weight for module in inner if isinstance(module, nn.Linear)]

    def parameter_groups(
        self, *, learning_rate: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Groups for an optimizer.

        Matrices and kernels decay, vectors and biases do not, whatever the shape of these; what an
        attention wants for its own parameters comes last.
        """
        special = [group for each in self._attentions() for group in each.parameter_groups()]
        taken = {id(parameter) for group in special for parameter in group.parameters}
        decaying: list[Tensor] = []
        others: list[Tensor] = []
        for name, parameter in self.named_parameters():
            if id(parameter) not in taken:
                decays = parameter.squeeze().dim() > 1 and not name.endswith("bias")
                (decaying if decays else others).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": decaying, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": others, "lr": learning_rate, "weight_decay": 0.0},
        ]
        groups += [
            {
                "params": list(group.parameters),
                "lr": learning_rate * group.rate_factor,
                "weight_decay": weight_decay if group.decays else 0.0,
            }
            for group in special
        ]
        return groups

    def _attentions(self) -> list[Attention]:
        return [module for module in self.modules() if isinstance(module, Attention)]
