"""CTC beam search over the words of a lexicon with a word-level n-gram language model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import nlargest
from itertools import chain, groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.ctc.decoder import SearchConfig, penalise_blank
from asr.ctc.greedy import token_runs
from asr.ctc.lexicon import LexiconWord, read_words
from asr.ctc.loss import BLANK, ctc_losses
from asr.lm.word_level import load_word_lm, unigram_scores
from asr.schema import STRICT
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.tokens import Decoded, SpelledWord, Token, TokenSequence

_NOTHING = TokenSequence(tokens=(), score=0.0, acoustic_score=0.0, lm_score=0.0, words=())

NO_WORD = -1
"""Word index in the search's result for a frame that ends no word."""


def word_search(words: Sequence[LexiconWord], lm: Path, *, labels: int, **settings: float) -> Any:  # noqa: ANN401 - the library has no types
    """Build the beam search of a lexicon, one that sums over alignments.

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
    """Build the graph of all words, in which each state of CTC is a node.

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


def longest_pause(log_probs: Tensor) -> int:
    """Find where to cut log-probabilities: in the longest pause of their second half, its middle.

    A pause is a run of frames whose best label is blank.

    Args:
        log_probs: (time, vocab), label 0 the blank; one frame or more.

    Returns:
        Frames before the cut, 1 or more; all where there is no pause.
    """
    is_blank = (log_probs.argmax(dim=1) == BLANK).tolist()
    second_half = range((len(is_blank) + 1) // 2, len(is_blank))
    pauses = [list(frames) for blank, frames in groupby(second_half, is_blank.__getitem__) if blank]
    pause = max(pauses, key=len, default=[len(is_blank)])
    return pause[len(pause) // 2]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LexiconConfig(SearchConfig):
    """Settings of `LexiconDecoder`; all scores are natural logarithms."""

    lm_weight: float = Field(ge=0)
    """What the language model's log-probability is multiplied by; 0 leaves the lexicon alone."""
    word_score: float
    """Added for each word; above 0 it makes up for the language model's taste for few words."""
    candidate_labels: int = Field(default=20, ge=1)
    """The most probable labels of a frame, blank included, that hypotheses go on with."""
    beam_threshold: float = Field(default=25.0, gt=0)
    """Hypotheses this much below a frame's best are dropped."""
    limit_frames: int = Field(default=1000, ge=1)
    """Longer recordings are cut in pauses, into sentences for the language model, in frames: what
    the search holds grows with them."""


class LexiconState(NamedTuple):
    """One item after some frames.

    Args:
        found: The best transcripts of the frames before `pending`, the best first.
        first_frame: Number of those frames.
        pending: (time, vocab) float32 on the CPU, log_probs that wait for the end of a sentence.
    """

    found: tuple[TokenSequence, ...]
    first_frame: int
    pending: Tensor


class LexiconDecoder:
    """CTC beam search over a lexicon: the word sequence of highest score with a language model.

    Only words of the lexicon can be found. The acoustic probability of words is the sum over all
    their spellings and alignments, as far as the beam holds these; times and confidence are those
    of the best alignment. score = acoustic_score + lm_weight * lm_score + word_score * words. With
    a blank penalty the score has the acoustic probability of the penalised probabilities; what is
    reported as the acoustic score and as posteriors is the model's all the same, the acoustic score
    as far as the best spelling tells the two apart.

    Args:
        words: The lexicon.
        lm: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        config: Settings.
        vocab_size: Number of token pieces; labels are 1 .. `vocab_size`.

    Raises:
        FileNotFoundError: The extra `lm` is not installed.
        ValueError: The language model's file is damaged.

    Source: Collobert et al. 2016 (arXiv:1609.03193), section 2.4, with the library flashlight-text.
    """

    def __init__(
        self,
        words: Sequence[LexiconWord],
        lm: Path,
        config: LexiconConfig,
        *,
        vocab_size: int,
    ) -> None:
        self.config = config
        self.vocab_size = vocab_size
        self._texts = [word.text for word in words]
        self._search = word_search(
            words,
            lm,
            labels=vocab_size + 1,
            beam_size=config.beam_size,
            beam_size_token=config.candidate_labels,
            beam_threshold=config.beam_threshold,
            # The library has the language model's scores as ARPA files do, in log10.
            lm_weight=config.lm_weight * math.log(10),
            word_score=config.word_score,
        )

    @classmethod
    def load(
        cls,
        lm: Path,
        tokenizer: Tokenizer,
        *,
        config: LexiconConfig,
        lexicon: Path | None = None,
    ) -> "LexiconDecoder":
        """Make a decoder of the words that `read_words` finds.

        Args:
            lm: The language model.
            tokenizer: That of the recogniser.
            config: Settings.
            lexicon: Words to use instead of the language model's own.

        Returns:
            The decoder.
        """
        words = read_words(lm, tokenizer, lexicon=lexicon)
        return cls(words, lm, config, vocab_size=tokenizer.vocab_size)

    def start(self, batch: int, *, device: torch.device) -> list[LexiconState]:
        """The state of so many items before their first frame."""
        nothing = torch.zeros(0, self.vocab_size + 1)
        return [LexiconState(found=(_NOTHING,), first_frame=0, pending=nothing)] * batch

    def step(
        self, state: list[LexiconState], log_probs: Tensor, lengths: Tensor
    ) -> list[LexiconState]:
        """Take up the next frames, and decode what is before a pause once there are too many.

        Any division of a recording into steps gives the same.

        Args:
            state: After the frames before; it stays as it is.
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank.
            lengths: (batch,) int64, how many of these frames are real; 0 is allowed.

        Returns:
            The state after these frames.

        Raises:
            ValueError: `log_probs` are of another number of labels.
        """
        if log_probs.shape[2] != self.vocab_size + 1:
            raise ValueError(
                f"expected log_probs of {self.vocab_size + 1} labels, found {log_probs.shape[2]}; "
                "use the lexicon with the recogniser that it was made for"
            )
        items = zip(state, log_probs.float().cpu(), lengths.tolist(), strict=True)
        return [self._take_up(item, frames[:length]) for item, frames, length in items]

    def best_labels(self, state: list[LexiconState]) -> list[list[int]]:
        """The labels of the words found so far, then of the best path through what is pending."""
        best = []
        for found, _, pending in state:
            labels = self._searched(pending).argmax(dim=1, keepdim=True)
            [path] = token_runs(labels.T, pending.gather(1, labels).T.double())
            best.append([token.label for token in (*found[0].tokens, *path)])
        return best

    def finish(self, state: list[LexiconState]) -> list[Decoded]:
        """Decode what is left.

        Args:
            state: After the last frame.

        Returns:
            Each item's best; with `nbest` above 1 that many of different words, or as many as the
            search has. The last word of one may be unfinished, and is left out, where no hypothesis
            of the beam ends with a whole word.
        """
        decoded = []
        for found, first_frame, pending in state:
            sequences = self._go_on(found, pending, first_frame) if len(pending) else found
            nbest = sequences if self.config.nbest > 1 else ()
            decoded.append(Decoded(best=sequences[0], nbest=nbest))
        return decoded

    def _searched(self, log_probs: Tensor) -> Tensor:
        """The log-probabilities (time, vocab) as the search has them."""
        return penalise_blank(log_probs, self.config.blank_penalty)

    def _take_up(self, item: LexiconState, log_probs: Tensor) -> LexiconState:
        found, first_frame, pending = item
        pending = torch.cat([pending, log_probs])
        limit = self.config.limit_frames
        while len(pending) > limit:
            frames = longest_pause(self._searched(pending[:limit]))
            found = self._go_on(found, pending[:frames], first_frame)
            first_frame += frames
            pending = pending[frames:]
        # A copy, so that what is decoded is freed.
        return LexiconState(found=found, first_frame=first_frame, pending=pending.clone())

    def _go_on(
        self, found: tuple[TokenSequence, ...], log_probs: Tensor, first_frame: int
    ) -> tuple[TokenSequence, ...]:
        """The best transcripts with those of the next sentence (time, vocab) behind them."""
        sentences = self._decode_sentence(log_probs, first_frame)
        pairs = nlargest(
            self.config.nbest,
            product(found, sentences),
            key=lambda pair: pair[0].score + pair[1].score,
        )
        return tuple(_joined(*pair) for pair in pairs)

    def _decode_sentence(self, log_probs: Tensor, first_frame: int) -> list[TokenSequence]:
        # One more label, the library's blank.
        emissions = torch.nn.functional.pad(
            self._searched(log_probs), (0, 1), value=-math.inf
        ).contiguous()
        results = self._search.decode(emissions.data_ptr(), *emissions.shape)
        # What the search holds grows with the sentence.
        self._search.decode_begin()
        # Results of the same words differ in their last, unfinished word; the first is the best.
        distinct: dict[tuple[int, ...], Any] = {}
        for result in results:
            words = tuple(word for word in result.words if word != NO_WORD)
            distinct.setdefault(words, result)
            if len(distinct) == self.config.nbest:
                break
        return [self._sequence(result, log_probs, first_frame) for result in distinct.values()]

    def _sequence(
        self,
        result: Any,  # noqa: ANN401 - the library has no types
        log_probs: Tensor,
        first_frame: int,
    ) -> TokenSequence:
        # The library frames the path by a label before and one after it.
        labels = torch.tensor(result.tokens[1:-1]).unsqueeze(0)
        [tokens] = token_runs(labels, log_probs.gather(1, labels.T).T.double())
        words = tuple(
            SpelledWord(
                text=self._texts[word],
                tokens=tuple(
                    replace(
                        token,
                        start_frame=token.start_frame + first_frame,
                        end_frame=token.end_frame + first_frame,
                    )
                    for token in group
                ),
            )
            for word, group in _word_groups(result.words[1:-1], tokens)
        )
        lm_score = math.log(10) * result.lmScore
        prior = self.config.lm_weight * lm_score + self.config.word_score * len(words)
        penalty_score = self._penalty_score(log_probs, [token.label for token in tokens])
        return TokenSequence(
            tokens=tuple(chain.from_iterable(word.tokens for word in words)),
            score=result.score,
            acoustic_score=result.score - prior - penalty_score,
            blank_penalty_score=penalty_score,
            lm_score=lm_score,
            words=words,
        )

    def _penalty_score(self, log_probs: Tensor, labels: Sequence[int]) -> float:
        """What the penalty adds to the log-probability of labels, summed over alignments."""
        if not self.config.blank_penalty:
            return 0.0
        losses = ctc_losses(
            torch.stack([log_probs, self._searched(log_probs)]),
            torch.tensor([len(log_probs)] * 2),
            torch.tensor([labels] * 2, dtype=torch.int64),
            torch.tensor([len(labels)] * 2),
        )
        return float(losses[0] - losses[1])


def _joined(first: TokenSequence, second: TokenSequence) -> TokenSequence:
    assert first.words is not None
    assert second.words is not None
    return TokenSequence(
        tokens=first.tokens + second.tokens,
        score=first.score + second.score,
        acoustic_score=first.acoustic_score + second.acoustic_score,
        blank_penalty_score=first.blank_penalty_score + second.blank_penalty_score,
        lm_score=first.lm_score + second.lm_score,
        words=first.words + second.words,
    )


def _word_groups(
    word_of_frame: Sequence[int], tokens: Sequence[Token]
) -> Iterator[tuple[int, list[Token]]]:
    """Each word and its tokens: a word stands at the last frame of its last token."""
    remaining = iter(tokens)
    for frame, word in enumerate(word_of_frame):
        if word != NO_WORD:
            group = [next(remaining)]
            while group[-1].end_frame <= frame:
                group.append(next(remaining))
            yield word, group
