"""Word-level n-gram language models in files, as flashlight-text reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

BINARY_MAGIC = b"mmap lm http://kheafield.com/code"
"""What kenlm's binaries begin with."""


def load_word_lm(path: Path, words: Sequence[str]) -> Any:  # noqa: ANN401 - the library has no types
    """Load a language model.

    Args:
        path: An ARPA file, plain or gzip-compressed, or kenlm's binary.
        words: Different words, which it is asked for by their places here.

    Returns:
        A flashlight-text `KenLM`.

    Raises:
        FileNotFoundError: The extra `lm` is not installed.
        ValueError: The file is damaged.
    """
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError:
        raise FileNotFoundError(
            "expected the package flashlight-text to decode with a word-level language model, "
            "found none; run: tools/setup.sh lm"
        ) from None
    try:
        return KenLM(str(path), Dictionary(list(words)))
    except RuntimeError as error:
        message = " ".join(str(error).split())
        # Before it stands where in kenlm's source.
        reason = message.partition(" threw ")[2] or message
        raise ValueError(
            f"{path}: expected a complete ARPA file or kenlm's binary, found: {reason}; download "
            "or build it again"
        ) from None


def unigram_scores(model: Any, words: int) -> list[float]:  # noqa: ANN401 - see load_word_lm
    """Score words without context.

    Args:
        model: From `load_word_lm`.
        words: How many words it was loaded with.

    Returns:
        log10 of each word's probability; that of the unknown word where the model lacks it.
    """
    no_context = model.start(True)
    return [model.score(no_context, word)[1] for word in range(words)]
