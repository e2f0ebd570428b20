"""Splitting features into heads and joining them again."""

from torch import Tensor


def split_heads(x: Tensor, *, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split a joint projection into parts of (batch, head, time, head_dim).

    Args:
        x: (batch, time, parts * head * head_dim).
        parts: How many projections lie side by side.
        heads: Number of heads.

    Returns:
        `parts` tensors.
    """
    batch, time, width = x.shape
    split = x.view(batch, time, parts, heads, width // (parts * heads))
    # (batch, time, part, head, head_dim)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def join_heads(x: Tensor) -> Tensor:
    """(batch, head, time, head_dim) to (batch, time, feature)."""
    return x.transpose(1, 2).flatten(2)
