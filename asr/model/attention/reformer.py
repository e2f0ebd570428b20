"""Reformer: attention to frames that hash into the same or a neighbouring bucket."""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.model.attention.base import (
    OFFLINE,
    Attention,
    AttentionConfig,
    AttentionOutput,
    AttentionState,
    Capabilities,
    Mode,
    join_heads,
    split_heads,
)
from asr.model.attention.masks import FORBIDDEN
from asr.model.dropout import Dropout
from asr.schema import STRICT

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReformerConfig(AttentionConfig):
    """Locality-sensitive hashing instead of all pairs.

    Source: Kitaev et al. 2020 (Reformer).
    """

    kind: Literal["reformer"] = "reformer"
    """The word of this mechanism."""
    bucket_frames: int = Field(default=32, gt=0)
    """Frames of a chunk of the sorted sequence, and on average twice those of a bucket."""
    rounds: int = Field(default=4, gt=0)
    """Independent hashes; more find more of the keys that matter."""


class ReformerState(NamedTuple):
    """How many frames (batch,) are gone; no later call can see them."""

    frames: Tensor

    def select(self, index: Tensor) -> "ReformerState":
        """The state of some items."""
        return ReformerState(self.frames.index_select(0, index))


class ReformerAttention(Attention):
    """Shared-query-key attention inside chunks of the sequence sorted by hash.

    Keys are queries of unit length, and scores have no further scale, as in the authors' code. In
    each round a frame sees its own chunk and the neighbouring ones (in causal mode the one before);
    a pair that is met in several rounds counts once, so that the output is the exact softmax over
    all frames met. A frame sees itself only if it meets no other. Buckets come from a saved
    rotation, so that computing again gives the same ones. In causal mode later frames get no
    weight and no gradient, but by their number they move the borders of chunks.

    Source: Kitaev et al. 2020, section 2.
    """

    def __init__(
        self,
        config: ReformerConfig,
        *,
        width: int,
        heads: int,
        dropout: float,
        layer: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        self.query_value = nn.Linear(width, 2 * width)
        self.hash = RotationHash(
            rounds=config.rounds, heads=heads, head_dim=width // heads, layer=layer
        )
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(width, width)

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        return Capabilities(
            modes=frozenset({"offline", "causal"}),
            exact=False,
            positions="none",
            time="T log T",
            memory="T c",
        )

    def score_bytes(self, frames: int) -> int:
        """None: there are no scores of all pairs; see the contract in `base`."""
        return 0

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor,
        *,
        mode: Mode = OFFLINE,
        state: AttentionState | None = None,
    ) -> AttentionOutput:
        """Attend; see the contract in `base`.

        Raises:
            ValueError: There is a state: hashing needs the whole past.
        """
        self.check_mode(mode)
        if state is not None:
            raise ValueError(
                "ReformerAttention: expected the whole input in one call, found a state; choose an "
                "attention with chunked mode for streaming"
            )
        query, value = split_heads(self.query_value(x), parts=2, heads=self.heads)
        # (batch, head, time, head_dim)
        order, chunk_of = self._sort(query, valid_mask)
        outputs, totals = [], []
        for number in range(self.config.rounds):
            met = _Round(order[:, number], self.config.bucket_frames, mode)
            allowed = self._allowed(met, valid_mask, mode)
            output, total = self._attend(query, value, chunk_of, met, allowed)
            outputs.append(met.restored(output))
            totals.append(met.restored(total.unsqueeze(4)))
        shares = torch.softmax(torch.stack(totals), dim=0)
        # (round, batch, head, time, 1)
        context = (shares * torch.stack(outputs)).sum(dim=0).to(value.dtype)
        lonely = torch.stack(totals).amax(dim=0) < FORBIDDEN / 2
        gathered = self.output(join_heads(torch.where(lonely, value, context)))
        return AttentionOutput(
            output=torch.where(valid_mask.unsqueeze(2), gathered, 0.0),
            state=None if mode.kind == "offline" else ReformerState(valid_mask.sum(dim=1)),
        )

    def _sort(self, query: Tensor, valid_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Frames sorted by bucket and time, padding last, and the chunk that each frame is in.

        Both (batch, round, head, time) int64.
        """
        frames = self.config.bucket_frames
        lengths = valid_mask.sum(dim=1)
        buckets = 2 * ((lengths + frames - 1) // frames).clamp(min=1)
        hashed = self.hash(query.detach(), buckets)
        hashed = hashed.masked_fill(~valid_mask[:, None, None], torch.iinfo(torch.int64).max)
        order = torch.sort(hashed, dim=3, stable=True).indices
        place = torch.argsort(order, dim=3)
        return order, place // frames

    def _attend(
        self,
        query: Tensor,
        value: Tensor,
        chunk_of: Tensor,
        met: "_Round",
        allowed: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Attend in one round.

        Returns:
            Outputs (batch, head, chunk, row, head_dim), and for each row the logarithm of the sum
            of its exponentials, float32.
        """
        key = nn.functional.normalize(query.float(), dim=3).to(query.dtype)
        sorted_query = met.chunks(query)
        sorted_key = met.neighbours(met.chunks(key))
        sorted_value = met.neighbours(met.chunks(value))
        # (batch, head, chunk, row or column, head_dim)
        scores = (sorted_query @ sorted_key.transpose(3, 4)).float()
        times = torch.zeros_like(scores)
        for chunk in chunk_of.unbind(dim=1):
            own = met.chunks(chunk.unsqueeze(3))
            difference = own - met.neighbours(own).transpose(3, 4)
            times = times + ((difference >= -met.after) & (difference <= 1))
        # A pair is at least met in this round; columns beyond the ends are forbidden anyway.
        scores = scores - times.clamp(min=1).log()
        scores = scores.masked_fill(~allowed, FORBIDDEN)
        total = torch.logsumexp(scores, dim=4)
        weights = self.dropout(torch.exp(scores - total.unsqueeze(4)))
        return weights.to(value.dtype) @ sorted_value, total

    def _allowed(self, met: "_Round", valid_mask: Tensor, mode: Mode) -> Tensor:
        """Pairs of a round that may attend: (batch, head, chunk, row, column)."""
        batch, time = valid_mask.shape
        frames = torch.arange(time, device=valid_mask.device).expand(batch, self.heads, time)
        frames = torch.where(valid_mask.unsqueeze(1), frames, -1).unsqueeze(3)
        own = met.chunks(frames, fill=-1)
        other = met.neighbours(own, fill=-1).transpose(3, 4)
        allowed = (other >= 0) & (own != other)
        if mode.kind == "causal":
            allowed = allowed & (other < own)
            if mode.left_frames is not None:
                allowed = allowed & (own - other <= mode.left_frames)
        return allowed


class _Round:
    """One order of the frames, cut into chunks."""

    def __init__(self, order: Tensor, frames: int, mode: Mode) -> None:
        time = order.shape[2]
        self.after = 0 if mode.kind == "causal" else 1
        self._frames = frames
        # One chunk more in an exported program, which tells one from several.
        spare = frames if torch.compiler.is_exporting() else 0
        self._chunks = (time + spare + frames - 1) // frames
        self._order = order
        self._place = torch.argsort(order, dim=2)

    def chunks(self, x: Tensor, *, fill: int = 0) -> Tensor:
        """(batch, head, time, feature) in order: (batch, head, chunk, row, feature)."""
        index = self._order.unsqueeze(3).expand(-1, -1, -1, x.shape[3])
        ordered, time = x.gather(2, index), x.shape[2]
        if torch.compiler.is_exporting():
            # By index, since padding would ask which of the lengths is greater.
            first = self._frames * torch.arange(self._chunks, device=x.device).unsqueeze(1)
            place = first + torch.arange(self._frames, device=x.device)
            chunks = ordered[:, :, place.clamp(max=time - 1)]
            return chunks.masked_fill((place >= time).unsqueeze(2), fill)
        short = self._chunks * self._frames - time
        padded = nn.functional.pad(ordered, (0, 0, 0, short), value=fill)
        return padded.view(*x.shape[:2], self._chunks, self._frames, x.shape[3])

    def neighbours(self, chunks: Tensor, *, fill: int = 0) -> Tensor:
        """Each chunk with the one before and, unless in causal mode, the one after: more rows."""
        padded = nn.functional.pad(chunks, (0, 0, 0, 0, 1, 1), value=fill)
        parts = [padded[:, :, :-2], chunks, padded[:, :, 2:]]
        return torch.cat(parts[: 2 + self.after], dim=3)

    def restored(self, x: Tensor) -> Tensor:
        """(batch, head, chunk, row, feature) back in time: (batch, head, time, feature)."""
        if torch.compiler.is_exporting():
            item = torch.arange(x.shape[0], device=x.device).view(-1, 1, 1)
            head = torch.arange(x.shape[1], device=x.device).view(-1, 1)
            return x[item, head, self._place // self._frames, self._place % self._frames]
        index = self._place.unsqueeze(3).expand(-1, -1, -1, x.shape[4])
        return x.flatten(2, 3).gather(2, index)
