"""Pronunciation: the phones of words, by espeak-ng."""

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from asr.tokens.espeak import require_espeak, run_espeak
from asr.tokens.normaliser import normalise

logger = logging.getLogger(__name__)

# Stress, length and ties, and the names of languages around words of another.
_NOT_PHONES = re.compile(r"[\u02c8\u02cc\u02d0\u02d1\u0361\u200d\s]|\([a-z-]+\)")


def pronounce(words: Iterable[str], *, voice: str) -> dict[str, str]:
    """Find the phones of words by espeak-ng's rules and dictionary.

    Each word is spoken by itself, so that its phones do not depend on its neighbours; a word of one
    letter is spoken before another word, where English `a` is not the name of the letter. Stress
    and length are left out.

    Args:
        words: Normalised words, each without blanks.
        voice: A language of espeak-ng, such as `en-us`.

    Returns:
        The phones of each word, in IPA and upper case as `normalise` has it, without blanks; words
        of which espeak-ng speaks nothing are left out, with a warning.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ValueError: There is no such voice.
        ChildProcessError: espeak-ng failed; the message ends with what it said.
    """
    require_espeak("phones")
    distinct = list(dict.fromkeys(words))
    texts = [word if len(word) > 1 else f"{word} {word}" for word in distinct]
    question = {"voice": voice, "texts": [text.lower() for text in texts]}
    printed = run_espeak(
        Path(__file__).with_name("espeak_phones.py"),
        json.dumps(question),
        task=f"give phones of {len(distinct)} words",
    )
    answers = json.loads(printed)
    if answers is None:
        raise ValueError(
            f"expected a voice of espeak-ng, found {voice!r}; give another, such as en-us"
        )
    found = {}
    for word, answer in zip(distinct, answers, strict=True):
        spoken = answer if len(word) > 1 else answer.partition(" ")[0]
        phones = normalise(_NOT_PHONES.sub("", spoken)).replace(" ", "")
        if phones:
            found[word] = phones
    silent = [word for word in distinct if word not in found]
    if silent:
        logger.warning("%d words have no phones, %s among them", len(silent), silent[0])
    return found
