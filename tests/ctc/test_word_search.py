import pytest

from asr.ctc.lexicon_beam import word_graph


def test_a_prefix_of_words_hopes_for_the_most_probable_of_them() -> None:
    graph = word_graph([[(1, 2)], [(1, 3)], [(2,)]], [-2.0, -0.5, -3.0], labels=4)
    hopes = [graph.search(labels).max_score for labels in ([1], [1, 2], [1, 3], [2])]
    assert hopes == pytest.approx([-0.5, -2.0, -0.5, -3.0])
