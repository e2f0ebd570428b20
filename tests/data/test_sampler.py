import itertools

import numpy as np
import pytest

from asr.data.sampler import DurationBatchSampler, evaluation_batches

SPEEDS = (0.9, 1.0, 1.1)


def durations(count: int = 300) -> list[float]:
    """Durations spread like those of LibriSpeech: most near the longest, a tail of short ones."""
    generator = np.random.default_rng(5)
    return list((17.0 - 15.0 * generator.beta(1.2, 4.0, count)).round(3))


def factors(epoch: int) -> list[float]:
    generator = np.random.default_rng(epoch)
    return [1 / speed for speed in generator.choice(SPEEDS, len(durations()))]


def sampler(*, rank: int = 0, world_size: int = 1, seed: int = 3) -> DurationBatchSampler:
    return DurationBatchSampler(
        durations(),
        batch_seconds=60,
        seed=seed,
        rank=rank,
        world_size=world_size,
        buckets=10,
        duration_factors=factors,
    )


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_same_number_of_batches_on_every_rank_and_epoch(world_size: int) -> None:
    samplers = [sampler(rank=rank, world_size=world_size) for rank in range(world_size)]
    counts = {len(each.batches(epoch)) for each in samplers for epoch in range(30)}
    assert counts == {len(samplers[0])}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_no_utterance_twice_in_an_epoch_and_all_over_the_epochs(world_size: int) -> None:
    samplers = [sampler(rank=rank, world_size=world_size) for rank in range(world_size)]
    seen: set[int] = set()
    total = 0
    for epoch in range(30):
        used = [index for each in samplers for batch in each.batches(epoch) for index in batch]
        assert len(used) == len(set(used))
        total += len(used)
        seen.update(used)
    assert seen == set(range(len(durations())))
    assert total > 0.99 * 30 * len(durations())


def test_batches_stay_within_the_limit_after_speed_perturbation() -> None:
    seconds = np.asarray(durations())
    for epoch in range(10):
        warped = seconds * factors(epoch)
        for batch in sampler().batches(epoch):
            assert warped[batch].max() * len(batch) <= 60


@pytest.mark.parametrize("batch_seconds", [60, 100])
def test_padding_is_below_a_tenth(batch_seconds: float) -> None:
    seconds = np.asarray(durations(1500))
    batches = DurationBatchSampler(
        durations(1500), batch_seconds=batch_seconds, seed=0, buckets=10
    ).batches(0)
    padded = sum(seconds[batch].max() * len(batch) for batch in batches)
    real = sum(seconds[batch].sum() for batch in batches)
    assert 1 - real / padded < 0.1


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    first, second = sampler(), sampler()
    for epoch in (3, 0, 3):
        assert first.batches(epoch) == second.batches(epoch)
    assert first.batches(0) != first.batches(1)
    assert first.batches(0) != sampler(seed=4).batches(0)


def test_composition_and_order_of_batches_change_between_epochs() -> None:
    constant = DurationBatchSampler(durations(), batch_seconds=60, seed=0, buckets=10)
    first, second = constant.batches(0), constant.batches(1)
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    longest = [max(durations()[index] for index in batch) for batch in first]
    assert longest != sorted(longest)


def test_utterance_longer_than_the_limit_is_a_batch_of_its_own() -> None:
    batches = DurationBatchSampler([1.0, 1.0, 9.0, 1.0], batch_seconds=3, seed=0, buckets=4)
    assert sorted(map(sorted, batches.batches(0))) == [[0, 1, 3], [2]]


def test_few_utterances_are_shared_out_to_all_processes() -> None:
    shares = [
        DurationBatchSampler(
            [1.0] * 5, batch_seconds=100, seed=0, rank=rank, world_size=4, buckets=8
        ).batches(0)
        for rank in range(4)
    ]
    assert [len(share) for share in shares] == [1, 1, 1, 1]
    used = sorted(itertools.chain.from_iterable(batch for share in shares for batch in share))
    assert used == [0, 1, 2, 3, 4]


def test_surplus_utterances_wait_for_another_epoch() -> None:
    two = [
        DurationBatchSampler([9.0] * 3, batch_seconds=9, seed=0, rank=rank, world_size=2, buckets=1)
        for rank in range(2)
    ]
    used = [
        [index for each in two for batch in each.batches(epoch) for index in batch]
        for epoch in range(12)
    ]
    assert all(len(set(indices)) == 2 for indices in used)
    assert set(itertools.chain.from_iterable(used)) == {0, 1, 2}


def test_fewer_utterances_than_processes_is_an_error() -> None:
    with pytest.raises(ValueError, match="each of 2 processes, found 1"):
        DurationBatchSampler([1.0], batch_seconds=9, seed=0, rank=0, world_size=2, buckets=1)
    with pytest.raises(ValueError, match="each of 1 processes, found 0"):
        evaluation_batches([], batch_seconds=9, rank=0, world_size=1)


def test_values_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match=r"rank in 0 \.\. 1, found 2"):
        DurationBatchSampler([1.0] * 4, batch_seconds=9, seed=0, rank=2, world_size=2, buckets=1)
    for batch_seconds, buckets in ((0.0, 1), (9.0, 0)):
        with pytest.raises(ValueError, match="batch_seconds > 0 and buckets > 0"):
            DurationBatchSampler([1.0], batch_seconds=batch_seconds, seed=0, buckets=buckets)


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_evaluation_uses_every_utterance_once(world_size: int) -> None:
    shares = [
        evaluation_batches(durations(), batch_seconds=60, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    used = sorted(index for share in shares for batch in share for index in batch)
    assert used == list(range(len(durations())))
    for batch in itertools.chain.from_iterable(shares):
        assert max(durations()[index] for index in batch) * len(batch) <= 60


def test_evaluation_begins_with_the_longest() -> None:
    batches = evaluation_batches([1.0, 3.0, 2.0], batch_seconds=4, rank=0, world_size=1)
    assert batches == [[1], [2, 0]]
