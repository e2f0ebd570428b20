"""Seeds of the random numbers drawn on a device; no random state needs to be saved."""

import numpy as np
import torch


def seed_batch(*, seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed torch for one batch of one process: its dropout and its SpecAugment masks."""
    _seed(0, seed, epoch, batch, rank)


def seed_step(*, seed: int, step: int) -> None:
    """Seed torch alike on all processes for what follows an optimizer step."""
    _seed(1, seed, step)


def seed_weights(seed: int) -> None:
    """Seed torch alike on all processes for the first weights."""
    _seed(2, seed)


def _seed(*key: int) -> None:
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
