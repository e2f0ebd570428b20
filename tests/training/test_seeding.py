import torch

from asr.training.seeding import seed_batch


def test_every_part_of_a_batchs_place_gives_numbers_of_its_own() -> None:
    place = {"seed": 1, "epoch": 2, "batch": 3, "rank": 4}
    seeds = []
    for change in ({}, {"seed": 9}, {"epoch": 9}, {"batch": 9}, {"rank": 9}, {}):
        seed_batch(**{**place, **change})
        seeds.append(torch.initial_seed())
    assert len(set(seeds)) == 5
    assert seeds[0] == seeds[-1]
