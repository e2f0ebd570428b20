"""CTC beam search over the words of a lexicon with a word-level n-gram language model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.decoding.greedy import BestPath, Token, make_word, path_tokens
from asr.decoding.hypothesis import Hypothesis, Word
from asr.decoding.lexicon_words import LexiconWord, read_words
from asr.decoding.pauses import cut_at_pauses
from asr.decoding.word_search import NO_WORD, word_search
from asr.schema import STRICT
from asr.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LexiconConfig:
    """Settings of the lexicon decoder; all scores are natural logarithms."""

    beam_size: int = Field(default=100, ge=1)
    """Most hypotheses that are kept after a frame."""
    candidate_labels: int = Field(default=20, ge=1)
    """The most probable labels of a frame, blank included, that hypotheses go on with."""
    beam_threshold: float = Field(default=25.0, gt=0)
    """Hypotheses this much below a frame's best are dropped."""
    lm_weight: float = Field(default=0.5, ge=0)
    """What the language model's log-probability is multiplied by; 0 leaves the lexicon alone."""
    word_score: float = 0.0
    """Added for each word; above 0 it makes up for the language model's taste for few words."""
    limit_seconds: float = Field(default=40.0, gt=0)
    """Longer recordings are cut in pauses, into sentences for the language model, in seconds: what
    the search holds grows with them."""


@plain_dataclass(frozen=True, kw_only=True)
class ScoredHypothesis:
    """A hypothesis and what its score is made of.

    score = acoustic_score + lm_weight * lm_score + word_score * words.

    Args:
        hypothesis: The transcript.
        acoustic_score: Log-probability of the words' spellings, summed over the alignments that the
            search met.
        lm_score: Log-probability by the language model, the sentence's end included.
    """

    hypothesis: Hypothesis
    acoustic_score: float
    lm_score: float


class LexiconDecoder:
    """Finds the word sequence of highest probability by acoustic and language model together.

    Only words of the lexicon can be found. The acoustic probability of words is the sum over all
    their spellings and alignments, as far as the beam holds these; times and confidence are those
    of the best alignment.

    Args:
        words: The lexicon.
        lm: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        vocab_size: Number of token pieces; labels are 1 .. `vocab_size`.
        config: Settings.

    Raises:
        FileNotFoundError: The extra `lm` is not installed.
        ValueError: The language model's file is damaged.

    Source: Collobert et al. 2016 (arXiv:1609.03193), section 2.4, with the library flashlight-text.
    """

    def __init__(
        self,
        words: Sequence[LexiconWord],
        lm: Path,
        *,
        vocab_size: int,
        config: LexiconConfig | None = None,
    ) -> None:
        self.config = config or LexiconConfig()
        self.vocab_size = vocab_size
        self._texts = [word.text for word in words]
        self._search = word_search(
            words,
            lm,
            labels=vocab_size + 1,
            beam_size=self.config.beam_size,
            beam_size_token=self.config.candidate_labels,
            beam_threshold=self.config.beam_threshold,
            # The library has the language model's scores as ARPA files do, in log10.
            lm_weight=self.config.lm_weight * math.log(10),
            word_score=self.config.word_score,
        )

    @classmethod
    def load(
        cls,
        lm: Path,
        tokenizer: Tokenizer,
        *,
        lexicon: Path | None = None,
        config: LexiconConfig | None = None,
    ) -> "LexiconDecoder":
        """Make a decoder of the words that `read_words` finds.

        Args:
            lm: The language model.
            tokenizer: That of the recogniser.
            lexicon: Words to use instead of the language model's own.
            config: Settings.

        Returns:
            The decoder.
        """
        words = read_words(lm, tokenizer, lexicon=lexicon)
        return cls(words, lm, vocab_size=tokenizer.vocab_size, config=config)

    def decode(
        self,
        log_probs: Tensor,
        lengths: Tensor,
        *,
        frame_seconds: float,
        durations_seconds: Sequence[float],
    ) -> list[Hypothesis]:
        """Find the best hypothesis of each item.

        Args:
            log_probs: (batch, time, vocab), natural logarithm, label 0 the blank, on any device.
            lengths: (batch,) int64, frames.
            frame_seconds: Distance between frames.
            durations_seconds: Length of each item's audio; no word ends later.

        Returns:
            One hypothesis an item.
        """
        items = zip(log_probs, lengths.tolist(), durations_seconds, strict=True)
        return [
            self._decode_item(item[:frames], frame_seconds, seconds)
            for item, frames, seconds in items
        ]

    def nbest(
        self, log_probs: Tensor, *, count: int, frame_seconds: float, duration_seconds: float
    ) -> list[ScoredHypothesis]:
        """Find the best hypotheses of one item.

        Args:
            log_probs: (time, vocab), natural logarithm, label 0 the blank, on any device.
            count: Most hypotheses to give.
            frame_seconds: Distance between frames.
            duration_seconds: Length of the audio; no word ends later.

        Returns:
            Hypotheses of different words, the best first; one or more. The last word of one may be
            unfinished, and is left out, where no hypothesis of the beam ends with a whole word.

        Raises:
            ValueError: `log_probs` are of another number of labels.
        """
        if log_probs.shape[1] != self.vocab_size + 1:
            raise ValueError(
                f"expected log_probs of {self.vocab_size + 1} labels, found {log_probs.shape[1]}; "
                "use the lexicon with the recogniser that it was made for"
            )
        log_probs = log_probs.float().cpu()
        frames = log_probs.shape[0]
        if frames == 0:
            empty = Hypothesis(text="", score=0.0, words=(), duration_seconds=duration_seconds)
            return [ScoredHypothesis(hypothesis=empty, acoustic_score=0.0, lm_score=0.0)]
        # One more label, the library's blank.
        emissions = torch.nn.functional.pad(log_probs, (0, 1), value=-math.inf).contiguous()
        results = self._search.decode(emissions.data_ptr(), frames, emissions.shape[1])
        # What the search holds grows with the recording.
        self._search.decode_begin()
        # Results of the same words differ in their last, unfinished word; the first is the best.
        distinct: dict[tuple[int, ...], Any] = {}
        for result in results:
            found = tuple(word for word in result.words if word != NO_WORD)
            distinct.setdefault(found, result)
        return [
            self._scored(result, log_probs, frame_seconds, duration_seconds)
            for result in islice(distinct.values(), count)
        ]

    def _decode_item(
        self, log_probs: Tensor, frame_seconds: float, duration_seconds: float
    ) -> Hypothesis:
        longest_frames = max(1, int(self.config.limit_seconds / frame_seconds))
        score = 0.0
        words: list[Word] = []
        for stretch in cut_at_pauses(log_probs, longest_frames):
            offset = stretch.start * frame_seconds
            [best] = self.nbest(
                log_probs[stretch],
                count=1,
                frame_seconds=frame_seconds,
                duration_seconds=duration_seconds - offset,
            )
            score += best.hypothesis.score
            words += [
                replace(
                    word,
                    start_seconds=word.start_seconds + offset,
                    end_seconds=word.end_seconds + offset,
                )
                for word in best.hypothesis.words
            ]
        return Hypothesis(
            text=" ".join(word.word for word in words),
            score=score,
            words=tuple(words),
            duration_seconds=duration_seconds,
        )

    def _scored(
        self,
        result: Any,  # noqa: ANN401 - the library has no types
        log_probs: Tensor,
        frame_seconds: float,
        duration_seconds: float,
    ) -> ScoredHypothesis:
        # The library frames the path by a label before and one after it.
        labels = torch.tensor(result.tokens[1:-1]).unsqueeze(0)
        path = BestPath(labels=labels, log_probs=log_probs.gather(1, labels.T).T.double())
        [tokens] = path_tokens(path)
        words = tuple(
            make_word(self._texts[word], group, frame_seconds, duration_seconds)
            for word, group in _word_groups(result.words[1:-1], tokens)
        )
        lm_score = math.log(10) * result.lmScore
        prior = self.config.lm_weight * lm_score + self.config.word_score * len(words)
        return ScoredHypothesis(
            hypothesis=Hypothesis(
                text=" ".join(word.word for word in words),
                score=result.score,
                words=words,
                duration_seconds=duration_seconds,
            ),
            acoustic_score=result.score - prior,
            lm_score=lm_score,
        )


def _word_groups(
    word_of_frame: list[int], tokens: list[Token]
) -> Iterator[tuple[int, list[Token]]]:
    """Each word and its tokens: a word stands at the last frame of its last token."""
    remaining = iter(tokens)
    for frame, word in enumerate(word_of_frame):
        if word != NO_WORD:
            group = [next(remaining)]
            while group[-1].end_frame <= frame:
                group.append(next(remaining))
            yield word, group
