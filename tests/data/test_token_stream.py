"""Segments of a text: every label once an epoch, and exact resumption."""

import numpy as np
import pytest
import torch

from asr.data.token_stream import SegmentLoader, TextDataConfig, join_sentences

_CONFIG = TextDataConfig(segment_tokens=4, batch_tokens=8)


def _loader(tokens: int = 50, *, rank: int = 0, world_size: int = 1) -> SegmentLoader:
    stream = torch.arange(tokens)
    return SegmentLoader(stream, _CONFIG, seed=1, rank=rank, world_size=world_size)


def test_sentences_are_joined_by_boundaries() -> None:
    sentences = [np.array(each, dtype=np.int32) for each in ([3, 1], [2])]
    assert join_sentences(sentences).tolist() == [0, 3, 1, 0, 2, 0]


def test_targets_follow_inputs_and_no_segment_comes_twice() -> None:
    loader = _loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    for batch in batches:
        assert batch.inputs.shape == (2, 4)
        assert torch.equal(batch.targets, batch.inputs + 1)
        assert batch.label_count == 8
    seen = torch.cat([batch.inputs.flatten() for batch in batches])
    assert len(set(seen.tolist())) == len(seen)
    assert batches[0].ids[0] == f"token {int(batches[0].inputs[0, 0])}"


def test_each_epoch_is_cut_anew_and_resumes_anywhere() -> None:
    loader = _loader()
    first = [batch.inputs.tolist() for batch in loader]
    loader.load_state_dict({"epoch": 1, "next_batch": 0})
    second = [batch.inputs.tolist() for batch in loader]
    assert sorted(first) != sorted(second)
    resumed = _loader()
    resumed.load_state_dict({"epoch": 1, "next_batch": 3})
    assert [batch.inputs.tolist() for batch in resumed] == second[3:]


def test_processes_share_an_epoch() -> None:
    parts = [list(_loader(rank=rank, world_size=2)) for rank in range(2)]
    seen = torch.cat([batch.inputs.flatten() for part in parts for batch in part])
    assert [len(part) for part in parts] == [2, 2]
    assert len(set(seen.tolist())) == len(seen) == 32


def test_too_little_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected text for 3 segments of 4 tokens, found 12"):
        _loader(12)


def test_batch_below_a_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="expected batch_tokens >= segment_tokens"):
        TextDataConfig(segment_tokens=4, batch_tokens=3)


def test_segments_begin_elsewhere_in_each_epoch() -> None:
    config = TextDataConfig(segment_tokens=4, batch_tokens=8)
    loader = SegmentLoader(torch.arange(50), config, seed=1, rank=0, world_size=1)
    cuts = []
    for epoch in range(8):
        loader.load_state_dict({"epoch": epoch, "next_batch": 0})
        remainders = {int(start) % 4 for batch in loader for start in batch.inputs[:, 0]}
        assert len(remainders) == 1
        cuts.append(remainders.pop())
    assert len(set(cuts)) > 2
