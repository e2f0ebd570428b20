"""flashlight-text's search, over a graph of the paths that CTC may take through a lexicon."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.ctc import BLANK
from asr.decoding.lexicon_words import LexiconWord
from asr.lm.word_level import load_word_lm, unigram_scores

NO_WORD = -1
"""What the search gives for a frame with which no word is found."""


def word_search(words: Sequence[LexiconWord], lm: Path, *, labels: int, **settings: float) -> Any:  # noqa: ANN401 - the library has no types
    """Make a search that sums over alignments.

    Args:
        words: The lexicon.
        lm: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        labels: How many labels the model has, the blank included; the search is to be given one
            more, whose log-probability is minus infinity.
        settings: Of the library's `LexiconDecoderOptions`.

    Returns:
        A flashlight-text `LexiconDecoder` whose words are places in `words`.

    Raises:
        FileNotFoundError: The extra `lm` is not installed.
        ValueError: The language model's file is damaged.
    """
    model = load_word_lm(lm, [word.lm_word for word in words])
    from flashlight.lib.text import decoder as flashlight

    graph = word_graph(
        [word.spellings for word in words], unigram_scores(model, len(words)), labels=labels
    )
    options = flashlight.LexiconDecoderOptions(
        **settings,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=flashlight.CriterionType.CTC,
    )
    return flashlight.LexiconDecoder(
        options,
        graph,
        model,
        # The graph has its own blanks, which the library is told to be silence. The library's
        # blank, which would let a token go on after it, is the label without probability.
        sil_token_idx=BLANK,
        blank_token_idx=labels,
        unk_token_idx=NO_WORD,
        transitions=[],
        is_token_lm=False,
    )


def word_graph(
    spellings: Sequence[Sequence[Sequence[int]]], scores: Sequence[float], *, labels: int
) -> Any:  # noqa: ANN401 - the library has no types
    """Build the graph of all words.

    flashlight-text's own trie leaves a word with the first frame of its last token: no word may end
    in a token that lasts longer, though CTC's often do. This graph has a node for every state of
    CTC instead, in which each alignment of each spelling is one path, so that the search sums over
    all of them:

    - a token's node, in which the token may go on, leads to the nodes of different tokens that may
      follow, to its blank and, where words end in it, to its end;
    - its blank, in which the blank may go on, leads to all tokens that may follow, also an equal
      one;
    - its end takes up the token's last frame and gives the words. A token of one frame gives them
      when its node is entered.

    Between words the root holds the blanks.

    Args:
        spellings: The spellings of each word, label by label, none of them BLANK.
        scores: Of each word, log10 of its probability without context: what a prefix of it may look
            forward to.
        labels: How many labels there are, the blank included.

    Returns:
        A flashlight-text `Trie` whose words are places in `spellings`.
    """
    from flashlight.lib.text.decoder import Trie, TrieNode

    nodes = _prefix_tree(spellings)
    states: dict[_Node, Any] = {}
    # Children come after their parents in the list, and their states have to exist first.
    for node in reversed(nodes):
        followers = {label: states.pop(child) for label, child in node.children.items()}
        hopes = [child.best for child in node.children.values()]
        node.best = max([*hopes, *(scores[word] for word in node.words)])
        state = states[node] = TrieNode(node.label)
        state.max_score = node.best
        state.labels = node.words
        edges = {label: other for label, other in followers.items() if label != node.label}
        if followers:
            blank = edges[BLANK] = TrieNode(BLANK)
            blank.max_score = max(hopes)
            blank.children = followers
        if node.words:
            end = edges[node.label] = TrieNode(node.label)
            end.labels = node.words
        # The root waits for words in blanks of its own.
        state.children = followers if node is nodes[0] else edges
    trie = Trie(labels, BLANK)
    trie.search([]).children = states[nodes[0]].children
    return trie


class _Node:
    """A prefix of spellings."""

    __slots__ = ("best", "children", "label", "words")

    def __init__(self, label: int) -> None:
        self.label = label
        self.children: dict[int, _Node] = {}
        self.words: list[int] = []
        self.best = -float("inf")


def _prefix_tree(spellings: Sequence[Sequence[Sequence[int]]]) -> list[_Node]:
    """All prefixes, the empty one first, each before those that it begins."""
    nodes = [_Node(BLANK)]
    for word, variants in enumerate(spellings):
        for spelling in variants:
            node = nodes[0]
            for label in spelling:
                child = node.children.get(label)
                if child is None:
                    child = node.children[label] = _Node(label)
                    nodes.append(child)
                node = child
            node.words.append(word)
    return nodes
