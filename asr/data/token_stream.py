"""Token stream of a text corpus, in segments that a language model is trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.data.loader import LoaderState
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextDataConfig:
    """What to train a language model on: its section `[data]`."""

    train: Path | None = None
    """Text to train on, one sentence a line, plain or .gz; checked when used."""
    validation: Path | None = None
    """Text to validate on; checked when used."""
    tokenizer: Path | None = None
    """Folder of the recogniser's tokenizer; checked when used."""
    segment_tokens: int = Field(ge=2)
    """Tokens that are seen together."""
    batch_tokens: int = Field(gt=0)
    """Tokens of a batch."""

    def __post_init__(self) -> None:
        if self.batch_tokens < self.segment_tokens:
            raise ValueError(
                f"expected batch_tokens >= segment_tokens, found {self.batch_tokens} and "
                f"{self.segment_tokens}; raise batch_tokens"
            )


@plain_dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Batch of segments of a token stream.

    Args:
        ids: Where each segment begins in its stream.
        inputs: (segment, time) int64, labels; 0 between sentences.
        targets: Like `inputs`: the label after each.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor

    @property
    def label_count(self) -> Tensor:
        """Labels of all segments together, a scalar."""
        return torch.tensor(self.targets.numel(), device=self.targets.device)

    @property
    def size(self) -> str:
        """How large it is, in words."""
        return f"{len(self.ids)} segments of {self.inputs.shape[1]} tokens"

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch with its tensors on `device`."""
        return TokenBatch(
            ids=self.ids, inputs=self.inputs.to(device), targets=self.targets.to(device)
        )


def join_sentences(sentences: Sequence[NDArray[np.int32]]) -> Tensor:
    """One stream (token,) int64 of sentences, with a 0 before the first and after each."""
    boundary = np.zeros(1, dtype=np.int32)
    parts = [boundary, *(part for sentence in sentences for part in (sentence, boundary))]
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))


class SegmentLoader:
    """Segments in random order, cut anew in each epoch; it can resume like TrainingLoader.

    Args:
        stream: (token,) int64.
        config: Sizes of segments and batches.
        seed: Seed of cuts and order.
        rank: This process, 0 .. world_size - 1.
        world_size: Processes that share an epoch.

    Raises:
        ValueError: The stream is too short for one batch on each process.
    """

    def __init__(
        self, stream: Tensor, config: TextDataConfig, *, seed: int, rank: int, world_size: int
    ) -> None:
        self._stream, self._config, self._seed = stream, config, seed
        self._rank, self._world_size = rank, world_size
        self._state: LoaderState = {"epoch": 0, "next_batch": 0}
        self._segments_of_batch = config.batch_tokens // config.segment_tokens
        # One segment fewer than there are, so that the cuts can begin anywhere in the first.
        self._segments = (len(stream) - 1) // config.segment_tokens - 1
        if len(self) < 1:
            raise ValueError(
                f"expected text for {self._segments_of_batch * world_size + 1} segments of "
                f"{config.segment_tokens} tokens, found {len(stream)} tokens; lower "
                "data.batch_tokens or data.segment_tokens, or give more text"
            )

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        return max(0, self._segments // (self._segments_of_batch * self._world_size))

    def __iter__(self) -> Iterator[TokenBatch]:
        """The remaining batches of the epoch."""
        length = self._config.segment_tokens
        generator = np.random.default_rng((self._seed, self._state["epoch"]))
        starts = generator.integers(length) + length * generator.permutation(self._segments)
        own = starts[self._rank :: self._world_size]
        size = self._segments_of_batch
        for number in range(self._state["next_batch"], len(self)):
            yield segment_batch(self._stream, own[number * size : (number + 1) * size], length)

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to a position."""
        self._state = state


def segment_batch(
    stream: Tensor, starts: Sequence[int] | NDArray[np.int64], length: int
) -> TokenBatch:
    """The segments of so many tokens that begin at some places of a stream."""
    places = torch.as_tensor(np.asarray(starts)).unsqueeze(1) + torch.arange(length)
    return TokenBatch(
        ids=tuple(f"token {start}" for start in starts),
        inputs=stream[places],
        targets=stream[places + 1],
    )
