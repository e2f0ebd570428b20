"""Frames that attend to all and are attended to by all."""

import torch
from torch import Tensor, nn

from asr.model.attention.base import split_heads
from asr.model.attention.columns import FixedColumns, Keys


class GlobalFrames(nn.Module):
    """A fixed number of frames, spread evenly over each utterance, with projections of their own.

    Source: Beltagy et al. 2020, section 3.1; evenly spread, since frames have no [CLS] among them.
    """

    def __init__(self, *, count: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.count, self.heads, self.dropout = count, heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)

    def places(self, valid_mask: Tensor) -> Tensor:
        """Which frames are global: (batch, count) int64; short utterances repeat some."""
        numbers = torch.arange(self.count, device=valid_mask.device)
        return valid_mask.sum(dim=1, keepdim=True) * numbers // self.count

    def marks(self, valid_mask: Tensor) -> Tensor:
        """Where the global frames are: (batch, time) bool."""
        return torch.zeros_like(valid_mask).scatter(1, self.places(valid_mask), value=True)

    def columns(self, keys: Keys, places: Tensor) -> tuple[Keys, FixedColumns]:
        """The keys with the global ones taken out, and these."""
        index = places[:, None, :, None].expand(-1, *keys.key.shape[1:2], -1, keys.key.shape[3])
        fixed = FixedColumns(
            keys.key.gather(2, index),
            keys.value.gather(2, index),
            _is_first(places) & keys.valid.gather(1, places),
        )
        return keys._replace(valid=keys.valid & ~self.marks(keys.valid)), fixed

    def overwrite(self, context: Tensor, x: Tensor, valid_mask: Tensor, places: Tensor) -> Tensor:
        """Put what the global frames gather into the context (batch, head, time, head_dim)."""
        query, key, value = split_heads(self.query_key_value(x), parts=3, heads=self.heads)
        index = places[:, None, :, None].expand(-1, self.heads, -1, query.shape[3])
        gathered = nn.functional.scaled_dot_product_attention(
            query.gather(2, index),
            key,
            value,
            attn_mask=valid_mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        # Repeated places go to a spare frame: a scatter's gradient needs different ones.
        time = context.shape[2]
        index = torch.where(_is_first(places), places, time)[:, None, :, None].expand_as(index)
        padded = nn.functional.pad(context, (0, 0, 0, 1))
        return padded.scatter(2, index, gathered.to(context.dtype))[:, :, :time]


def _is_first(places: Tensor) -> Tensor:
    """Which of the places, which ascend, are no repetition of the one before."""
    return nn.functional.pad(places[:, 1:] != places[:, :-1], (1, 0), value=True)
