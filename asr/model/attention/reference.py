"""The naive float32 oracle that fast attention is tested against."""

import torch
from torch import Tensor


def naive_attention(
    query: Tensor, key: Tensor, value: Tensor, *, allowed: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Softmax attention, written as the equation reads.

    Args:
        query: (batch, head, time, head_dim), not scaled.
        key: (batch, head, key_time, head_dim).
        value: (batch, head, key_time, head_dim).
        allowed: Bool, broadcastable to (batch, head, time, key_time); True where attention is
            allowed.
        bias: Added to the scaled scores, broadcastable like `allowed`.

    Returns:
        (batch, head, time, head_dim); zero for a query that may attend to nothing.

    Source: Vaswani et al. 2017, equation 1.
    """
    scores = query.float() @ key.float().transpose(-2, -1) / query.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~allowed, float("-inf"))
    weights = torch.softmax(scores, dim=-1).masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)
    return weights @ value.float()
