"""What softmax attention carries from chunk to chunk."""

from typing import NamedTuple

from torch import Tensor


class SoftmaxState(NamedTuple):
    """What was seen before: keys, values (batch, head, time, head_dim), validity and input tail."""

    key: Tensor
    value: Tensor
    valid: Tensor
    tail: Tensor

    def select(self, index: Tensor) -> "SoftmaxState":
        """The state of some items."""
        return SoftmaxState(*(tensor.index_select(0, index) for tensor in self))
