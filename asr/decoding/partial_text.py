"""The text of a transcript that grows."""

from collections.abc import Sequence

from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.word_times import spell_words

# Labels at the end that are spelled anew each time; decoders seldom change earlier ones.
_OPEN_LABELS = 64


class PartialText:
    """Spells labels that grow at their end without spelling all of them each time.

    Args:
        tokenizer: Gives the text of labels.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._settled: list[int] = []
        self._settled_text = ""

    def of(self, labels: Sequence[int]) -> str:
        """The words of the labels, any labels, separated by single blanks."""
        labels = list(labels)
        if labels[: len(self._settled)] != self._settled:
            self._settled, self._settled_text = [], ""
        if len(labels) - len(self._settled) > 2 * _OPEN_LABELS:
            self._settle(labels)
        return self._joined(labels[len(self._settled) :])

    def _settle(self, labels: list[int]) -> None:
        """Spell all but the last labels for good, up to the start of a word."""
        end = len(labels) - _OPEN_LABELS
        while end > len(self._settled) and not self._tokenizer.starts_word(labels[end]):
            end -= 1
        self._settled_text = self._joined(labels[len(self._settled) : end])
        self._settled = labels[:end]

    def _joined(self, labels: list[int]) -> str:
        """The settled text and the words of the labels after it."""
        words = [text for text, _ in spell_words(labels, self._tokenizer)]
        return " ".join([self._settled_text, *words] if self._settled_text else words)
