"""`asr attention` against the design's table."""

import pytest

from asr.cli.attention import attention
from asr.model.attention import ATTENTION

_CAUSAL = set(ATTENTION) - {"linformer"}
_CHUNKED = set(ATTENTION) - {"linformer", "reformer"}
_EXACT = set(ATTENTION) - {"linformer", "reformer", "performer"}


def test_table_says_what_each_word_must_be_able_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    attention()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:5] for line in lines[1 : len(ATTENTION) + 1]}
    assert list(rows) == list(ATTENTION)
    for word, cells in rows.items():
        expected = [True, word in _CAUSAL, word in _CHUNKED, word in _EXACT]
        assert [cell == "yes" for cell in cells] == expected, word


def test_words_are_those_of_the_dict(capsys: pytest.CaptureFixture[str]) -> None:
    attention(words=True)
    assert capsys.readouterr().out.splitlines() == list(ATTENTION)
