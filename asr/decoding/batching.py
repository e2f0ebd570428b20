"""Which inputs are decoded together."""

from collections.abc import Sequence

BATCH_SECONDS = 120.0


def plan_batches(durations: Sequence[tuple[int, float]], batch_seconds: float) -> list[list[int]]:
    """Group inputs of similar length, the longest first.

    Args:
        durations: Pairs of index and seconds.
        batch_seconds: Most seconds a batch, padding included; one longer input is a batch alone.

    Returns:
        Indices, one list a batch.
    """
    batches: list[list[int]] = []
    longest = 0.0
    for index, seconds in sorted(durations, key=lambda pair: (-pair[1], pair[0])):
        if not batches or (len(batches[-1]) + 1) * longest > batch_seconds:
            batches.append([])
            longest = seconds
        batches[-1].append(index)
    return batches
