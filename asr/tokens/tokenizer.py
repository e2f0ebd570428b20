"""Tokenizer: text to labels and back, by SentencePiece."""

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import sentencepiece

from asr.files import TOKENIZER_FILE, write_atomically
from asr.tokens.normaliser import normalise

logger = logging.getLogger(__name__)

TokenizerKind = Literal["unigram", "bpe", "char"]

_BLANK_SYMBOL = "\u2581"
# SentencePiece drops longer sentences without a word; its own default is 4192 bytes.
_LONGEST_SENTENCE_BYTES = 10_000_000
_LOG_ERRORS_ONLY = 2


class Tokenizer:
    """A SentencePiece model whose labels leave 0 to CTC's blank: label = SentencePiece id + 1.

    Text is normalised by `asr.tokens.normaliser` on the way in, so that no caller can forget it.

    Args:
        model: A serialised SentencePiece model.

    Raises:
        ValueError: The bytes are no SentencePiece model.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError:
            raise ValueError(
                f"expected a SentencePiece model, found {len(model)} bytes that are none; "
                "make one with `asr tokenize`"
            ) from None

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[bytes]]:
        return type(self), (self._model,)

    @classmethod
    def load(cls, path: Path, *, digest: str | None = None) -> "Tokenizer":
        """Read a model.

        Args:
            path: A `tokenizer.model`, or the folder that holds it.
            digest: What the model's `digest` must be; None takes any model.

        Returns:
            The tokenizer.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is no SentencePiece model, or has another digest.
        """
        file = path / TOKENIZER_FILE if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(
                f"expected a tokenizer at {file}, found no file; make one with `asr tokenize`"
            )
        try:
            tokenizer = cls(file.read_bytes())
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        if digest is not None and tokenizer.digest != digest:
            raise ValueError(
                f"{file}: expected the tokenizer with sha256 {digest}, found {tokenizer.digest}; "
                "copy the folder anew"
            )
        return tokenizer

    def save(self, path: Path) -> None:
        """Write the model atomically to `path`, or to `tokenizer.model` in it if it is a folder."""
        file = path / TOKENIZER_FILE if path.is_dir() else path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda stream: stream.write(self._model))

    @property
    def vocab_size(self) -> int:
        """Number of pieces N, the unknown piece included; labels are 1 .. N."""
        return len(self.pieces)

    @cached_property
    def pieces(self) -> list[str]:
        """The pieces, by label - 1; U+2581 stands for the blank before a word."""
        return [self._processor.IdToPiece(index) for index in range(self._processor.GetPieceSize())]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model, hexadecimal: equal digests, equal pieces and labels of any text."""
        return hashlib.sha256(self._model).hexdigest()

    def starts_word(self, label: int) -> bool:
        """Whether the piece of `label` (1 .. N) begins a word."""
        self._check([label])
        return self.pieces[label - 1].startswith(_BLANK_SYMBOL)

    def encode(self, text: str) -> list[int]:
        """Turn text into labels.

        Args:
            text: Any text; it is normalised first.

        Returns:
            Labels in 1 .. N; none where the text has no words.

        Raises:
            ValueError: The model lacks characters of the text; ask `unknown_characters` first.
        """
        ids: list[int] = self._processor.EncodeAsIds(normalise(text))
        if self._processor.unk_id() in ids:
            unknown = sorted(self.unknown_characters(text))
            raise ValueError(
                f"expected characters that the tokenizer knows, found {unknown} in {text[:80]!r}; "
                "leave the utterance out or train the tokenizer on this text too"
            )
        return [index + 1 for index in ids]

    def decode(self, labels: Sequence[int]) -> str:
        """Turn labels into words separated by single blanks.

        Args:
            labels: Labels in 1 .. N, in any order a decoder may give; blanks (0) already removed.

        Returns:
            The text; empty for no labels.

        Raises:
            ValueError: A label is outside 1 .. N.
        """
        self._check(labels)
        text: str = self._processor.DecodeIds([int(label) - 1 for label in labels])
        return " ".join(text.split())

    def unknown_characters(self, text: str) -> set[str]:
        """The characters of the normalised text that the model lacks."""
        return set(normalise(text)) - self._characters

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset(piece for piece in self.pieces if len(piece) == 1) | {" "}

    def _check(self, labels: Sequence[int]) -> None:
        if len(labels) > 0 and not 1 <= min(labels) <= max(labels) <= self.vocab_size:
            raise ValueError(
                f"expected labels in 1 .. {self.vocab_size}, found {min(labels)} .. {max(labels)}; "
                "remove CTC's blank (0) and use the tokenizer that the model was trained with"
            )


def check_same_tokenizer(*, language_model: Tokenizer, recognizer: Tokenizer) -> None:
    """Check that a language model can score what a recogniser writes.

    Raises:
        ValueError: Their tokenizers differ.
    """
    if language_model.digest != recognizer.digest:
        raise ValueError(
            f"expected a language model over the same token pieces, found another tokenizer "
            f"({language_model.vocab_size} pieces, the recogniser's has {recognizer.vocab_size}); "
            "train the language model with the recogniser's tokenizer.model"
        )


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int | None, kind: TokenizerKind
) -> Tokenizer:
    """Train a tokenizer; the same texts give the same bytes.

    Every character of the texts gets a piece. The vocabulary is enlarged where `vocab_size` is too
    small for that and reduced where the texts do not yield so many pieces, with a logged warning.

    Args:
        texts: Transcripts; they are normalised first, empty ones are skipped.
        vocab_size: Number of pieces, the unknown piece included. None for kind `char` alone,
            which has as many pieces as the texts have characters.
        kind: SentencePiece's model type.

    Returns:
        The tokenizer, with an unknown piece and without any for begin, end or padding.

    Raises:
        ValueError: There is no text, or no positive `vocab_size` for a kind that needs one.
    """
    normalised = [text for text in map(normalise, texts) if text]
    if not normalised:
        raise ValueError(
            "expected text to train the tokenizer on, found none; give manifests with transcripts"
        )
    if vocab_size is None and kind != "char":
        raise ValueError(f"expected a vocabulary size for a {kind} tokenizer, found none; give one")
    if vocab_size is not None and vocab_size < 1:
        raise ValueError(
            f"expected a vocabulary size of at least 1, found {vocab_size}; 500 is usual"
        )
    # Texts of one word hold no blank, yet every word begins with it; one more is the unknown piece.
    required = len(set().union(*normalised) | {" "}) + 1
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(normalised),
        model_writer=model,
        model_type=kind,
        vocab_size=max(vocab_size or required, required),
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        max_sentence_length=_LONGEST_SENTENCE_BYTES,
        num_threads=1,  # the number of threads changes the sums of unigram training, and the file
        minloglevel=_LOG_ERRORS_ONLY,
    )
    tokenizer = Tokenizer(model.getvalue())
    if vocab_size is not None and tokenizer.vocab_size != vocab_size:
        logger.warning(
            "vocabulary of %d pieces instead of %d: the texts %s",
            tokenizer.vocab_size,
            vocab_size,
            "are too small for so many"
            if tokenizer.vocab_size < vocab_size
            else f"have {required - 1} characters, and each needs a piece",
        )
    return tokenizer
