"""Locality-sensitive hashing of vectors by random rotations."""

import torch
from torch import Tensor, nn

_SEED = 52711
# Directions of one rotation; more buckets than twice as many are pairs of two hashes.
_DIRECTIONS = 32


class RotationHash(nn.Module):
    """Buckets of similar vectors: the nearest of random directions and their opposites.

    Rotations are drawn once and saved. An item uses as many directions as its own length asks for,
    so that its buckets depend neither on padding nor on other items.

    Source: Andoni et al. 2015; Kitaev et al. 2020 (Reformer), section 2, and its code for pairs.
    """

    rotations: Tensor

    def __init__(self, *, rounds: int, heads: int, head_dim: int, layer: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(_SEED + layer)
        shape = (2, rounds, heads, head_dim, _DIRECTIONS)
        rotations = torch.randn(shape, generator=generator, device="cpu")
        self.register_buffer("rotations", rotations)

    @torch.no_grad()
    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        """Hash.

        Args:
            x: (batch, head, time, head_dim).
            buckets: (batch,) int64, even: how many buckets an item has.

        Returns:
            (batch, round, head, time) int64; an item of more than 64 buckets may have a few more.
        """
        with torch.autocast(x.device.type, enabled=False):
            projected = x.float()[:, None, None] @ self.rotations
        # (batch, hash, round, head, time, direction)
        first = (buckets // 2).clamp(1, _DIRECTIONS)
        second = (buckets // 2 - 1) // _DIRECTIONS // 2 + 1
        coarse = self._nearest(projected[:, 0], first)
        # One bucket of the second hash is no second hash.
        fine = self._nearest(projected[:, 1], second) * (buckets > 2 * _DIRECTIONS).view(
            -1, 1, 1, 1
        )
        return coarse + 2 * _DIRECTIONS * fine

    @staticmethod
    def _nearest(projected: Tensor, directions: Tensor) -> Tensor:
        """The nearest of an item's first directions and their opposites."""
        numbers = torch.arange(_DIRECTIONS, device=projected.device)
        unused = numbers >= directions.view(-1, 1, 1, 1, 1)
        both = torch.cat(
            [
                projected.masked_fill(unused, -torch.inf),
                (-projected).masked_fill(unused, -torch.inf),
            ],
            dim=4,
        )
        return both.argmax(dim=4)
