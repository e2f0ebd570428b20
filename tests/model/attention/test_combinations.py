"""Mechanisms put together: windows, spans, positions and slices of queries."""

import pytest
import torch

from asr.model.attention import OFFLINE, Mode, causal, chunked
from asr.model.encoders.base import parse_attention
from tests.model.attention.oracles import assert_close, build, masked_input

_COMBINATIONS: list[dict[str, object]] = [
    {"kind": "longformer", "window_frames": 5, "positions": "alibi"},
    {"kind": "longformer", "window_frames": 5, "persistent_vectors": 6, "dilation": 2},
    {"kind": "longformer", "window_frames": 5, "query_key_kernel_frames": 3},
    {"kind": "longformer", "window_frames": 5, "global_frames": 4, "dilation": [1, 1, 2, 2]},
    {"kind": "adaptive_span", "span": {"initial_fraction": 0.01}, "persistent_vectors": 5},
    {"kind": "adaptive_span", "span": {"initial_fraction": 0.01}, "positions": "alibi"},
    {"kind": "logsparse", "persistent_vectors": 5, "positions": "relative"},
    {"kind": "alibi", "persistent_vectors": 5, "query_key_kernel_frames": 2},
    {"kind": "full", "persistent_vectors": 5},
    {"kind": "all_attention", "persistent_vectors": 5, "window_frames": 9},
]


@pytest.mark.parametrize(
    ("section", "mode"),
    [
        (section, mode)
        for section in _COMBINATIONS
        for mode in (OFFLINE, causal(), causal(6), chunked(4), chunked(8, 16))
        if mode.kind in build(**section).capabilities.modes
    ],
    ids=str,
)
def test_axes_combine(section: dict[str, object], mode: Mode) -> None:
    attention = build(**section)
    x, valid = masked_input(150)
    expected = attention.reference(x, valid, mode=mode)
    assert_close(attention(x, valid, mode=mode).output, expected)
    if mode.kind == "chunked":
        state, outputs = None, []
        for start, end in ((0, 8), (8, 72), (72, 104), (104, 150)):
            result = attention(x[:, start:end], valid[:, start:end], mode=mode, state=state)
            state = result.state
            outputs.append(result.output)
        assert_close(torch.cat(outputs, dim=1), expected)


@pytest.mark.parametrize("section", _COMBINATIONS, ids=str)
def test_slices_of_long_input_equal_one_pass(
    section: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = build(**section)
    x, valid = masked_input(333)
    served = attention.capabilities.modes
    modes = [mode for mode in (OFFLINE, chunked(8, 16)) if mode.kind in served]
    expected = [attention(x, valid, mode=mode).output for mode in modes]
    monkeypatch.setattr("asr.model.attention.softmax_blocks.SCORES_AT_ONCE", 1)
    with torch.no_grad():
        for mode, whole in zip(modes, expected, strict=True):
            assert_close(attention(x, valid, mode=mode).output, whole)


Section = dict[str, object]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "longformer", "window_frames": -1}, "windows of no negative"),
        ({"kind": "longformer", "dilation": 0}, "dilations of positive frames"),
        ({"kind": "full", "dilation": 2}, "a window where there is a dilation"),
        ({"kind": "adaptive_span", "window_frames": 3}, "learned spans alone"),
        ({"kind": "adaptive_span", "pattern": "exponential"}, "pointless in sparse keys"),
        ({"kind": "full", "global_frames": 2}, "without one all frames are"),
        ({"kind": "logsparse", "window_frames": 3}, "set local_frames"),
        ({"kind": "full", "local_frames": 3}, "in the exponential pattern alone"),
        ({"kind": "full", "persistent_vectors": -1}, "no negative number of persistent"),
    ],
)
def test_axes_that_do_not_combine_are_refused(section: Section, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_attention(section)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_frames": [1, 2, 3]}, "one for each of 1 layers, found 3"),
        ({"dilation": [1, 2]}, "one for each of 4 heads, found 2"),
    ],
)
def test_wrong_number_of_windows_or_dilations_is_refused(settings: Section, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("longformer", **settings)


def test_chunk_that_cuts_a_dilated_window_is_refused() -> None:
    attention = build("longformer", dilation=4)
    with pytest.raises(ValueError, match="multiples of the dilation 4, found 6"):
        attention.check_mode(chunked(6))
