"""Batch sampler by duration: which utterances go together, for every epoch and every process."""

import heapq
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# The number of batches is fixed once, as the largest that these first epochs need.
_PROBED_EPOCHS = 5


def pack_batches(
    order: Sequence[int],
    durations_seconds: Mapping[int, float] | NDArray[np.float64],
    *,
    batch_seconds: float,
) -> list[list[int]]:
    """Fill batches one after the other in a given order.

    Args:
        order: Indices of utterances.
        durations_seconds: Their durations by index.
        batch_seconds: Longest utterance times number of utterances, at most, unless a single
            utterance is longer.

    Returns:
        Indices, one list a batch.
    """
    batches: list[list[int]] = []
    longest_seconds = 0.0
    for index in order:
        duration_seconds = float(durations_seconds[index])
        longest_seconds = max(longest_seconds, duration_seconds)
        if batches and longest_seconds * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest_seconds = duration_seconds
    return batches


def _halve_largest(batches: Sequence[list[int]], *, count: int) -> list[list[int]]:
    """Make more batches by halving those of most utterances.

    Args:
        batches: Batches that hold at least `count` utterances together.
        count: Number of batches wanted, at least as many as there are.

    Returns:
        Exactly `count` batches of the same utterances, in no particular order.
    """
    # A heap keeps this fast where a small set is dealt out to many processes.
    heap = [(-len(batch), batch) for batch in batches]
    heapq.heapify(heap)
    while len(heap) < count:
        _, batch = heapq.heappop(heap)
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            heapq.heappush(heap, (-len(half), half))
    return [batch for _, batch in heap]


def _check_processes(*, utterances: int, rank: int, world_size: int) -> None:
    if not 0 <= rank < world_size:
        raise ValueError(f"expected rank in 0 .. {world_size - 1}, found {rank}; correct it")
    if utterances < world_size:
        raise ValueError(
            f"expected at least one utterance for each of {world_size} processes, found "
            f"{utterances}; use fewer processes or more data"
        )


def evaluation_batches(
    durations_seconds: Sequence[float], *, batch_seconds: float, rank: int, world_size: int
) -> list[list[int]]:
    """Batches that hold every utterance once, with the least padding.

    Args:
        durations_seconds: Duration of each utterance.
        batch_seconds: Longest utterance times number of utterances, at most; an utterance that is
            longer makes a batch of its own.
        rank: This process, 0 .. world_size - 1.
        world_size: Processes that share the utterances.

    Returns:
        Indices into the durations, one list a batch, by falling duration; as many batches on every
        process unless each batch is one utterance.

    Raises:
        ValueError: The rank is out of range, or there are fewer utterances than processes.
    """
    _check_processes(utterances=len(durations_seconds), rank=rank, world_size=world_size)
    durations = np.asarray(durations_seconds, dtype=np.float64)
    batches = pack_batches(
        np.argsort(-durations, kind="stable").tolist(), durations, batch_seconds=batch_seconds
    )
    count = -(-len(batches) // world_size) * world_size
    batches = _halve_largest(batches, count=min(count, len(durations)))
    batches.sort(key=lambda batch: -durations[batch[0]])
    return batches[rank::world_size]


class DurationBatchSampler:
    """Batches of similar duration whose number is the same in every epoch and on every process.

    An epoch's utterances are sorted by duration, cut into buckets, shuffled inside each bucket and
    filled in this order into batches of at most `batch_seconds`; the batches are then shuffled and
    dealt out to the processes. The durations are those after speed perturbation, so that neither
    the limit nor the padding suffers from it. Where an epoch packs into fewer batches than the
    fixed number, its batches of most utterances are halved; where it packs into more (rare: the
    number is the largest of the first five epochs), the surplus batches, chosen at random, wait for
    another epoch.

    Args:
        durations_seconds: Duration of each utterance before augmentation.
        batch_seconds: Longest utterance times number of utterances, at most; an utterance that is
            longer makes a batch of its own.
        seed: Seed of all shuffling.
        rank: This process, 0 .. world_size - 1.
        world_size: Processes that share an epoch.
        buckets: Number of buckets; more means less padding and less variety in a batch.
        duration_factors: From epoch to each utterance's factor on the duration; None means 1.

    Raises:
        ValueError: A value is out of its range, or there are fewer utterances than processes.
    """

    def __init__(
        self,
        durations_seconds: Sequence[float],
        *,
        batch_seconds: float,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        buckets: int,
        duration_factors: Callable[[int], Sequence[float]] | None = None,
    ) -> None:
        _check_processes(utterances=len(durations_seconds), rank=rank, world_size=world_size)
        if not (batch_seconds > 0 and buckets > 0):
            raise ValueError(
                f"expected batch_seconds > 0 and buckets > 0, found {batch_seconds} and {buckets}; "
                "correct the section [data]"
            )
        self._durations_seconds = np.asarray(durations_seconds, dtype=np.float64)
        self._duration_factors = duration_factors
        self._batch_seconds = batch_seconds
        self._buckets = buckets
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        needed = max(
            len(self._packed(epoch, np.random.default_rng([seed, epoch])))
            for epoch in range(_PROBED_EPOCHS)
        )
        # As many on every process; never more batches than utterances, which is possible because
        # there are at least as many utterances as processes.
        self._length = min(-(-needed // world_size), len(durations_seconds) // world_size)

    def __len__(self) -> int:
        """Batches an epoch on this process."""
        return self._length

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch: a pure function of seed, epoch and rank.

        Args:
            epoch: Number of the epoch, from 0.

        Returns:
            Indices into the durations, one list a batch.
        """
        count = self._length * self._world_size
        generator = np.random.default_rng([self._seed, epoch])
        packed = self._packed(epoch, generator)
        if len(packed) < count:
            packed = _halve_largest(packed, count=count)
        # The rank is no part of the seed: all processes make the same batches and share them out.
        order = generator.permutation(len(packed))[:count]
        return [packed[number] for number in order[self._rank :: self._world_size]]

    def _packed(self, epoch: int, generator: np.random.Generator) -> list[list[int]]:
        durations_seconds = self._durations_seconds
        if self._duration_factors is not None:
            durations_seconds = durations_seconds * np.asarray(self._duration_factors(epoch))
        by_duration = np.argsort(durations_seconds, kind="stable")
        buckets = np.array_split(by_duration, self._buckets)
        order = np.concatenate([generator.permutation(bucket) for bucket in buckets]).tolist()
        return pack_batches(order, durations_seconds, batch_seconds=self._batch_seconds)
