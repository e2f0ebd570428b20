"""Words to the phones that they are spoken with."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from asr.tokens.normaliser import normalise

# Stress, length and ties, and the names of languages around words of another.
_NOT_PHONES = re.compile(r"[\u02c8\u02cc\u02d0\u02d1\u0361\u200d\s]|\([a-z-]+\)")
_NO_VOICE = 2


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
        of which espeak-ng speaks nothing are left out.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ValueError: There is no such voice.
        ChildProcessError: espeak-ng failed; the message ends with what it said.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise FileNotFoundError(
            "expected the package espeakng-loader for phones, found none; "
            "run: tools/setup.sh synthetic"
        )
    distinct = list(dict.fromkeys(words))
    texts = [word if len(word) > 1 else f"{word} {word}" for word in distinct]
    # -P keeps the modules beside the program out of its way.
    run = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("espeak.py"))],
        input=json.dumps({"voice": voice, "texts": [text.lower() for text in texts]}),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        said = (run.stderr.strip() or "nothing").splitlines()[-1]
        if run.returncode == _NO_VOICE:
            raise ValueError(said)
        raise ChildProcessError(
            f"expected espeak-ng to give phones of {len(distinct)} words, found exit status "
            f"{run.returncode}; it said: {said}"
        )
    found = {}
    for word, answer in zip(distinct, json.loads(run.stdout), strict=True):
        spoken = answer if len(word) > 1 else answer.partition(" ")[0]
        phones = normalise(_NOT_PHONES.sub("", spoken)).replace(" ", "")
        if phones:
            found[word] = phones
    return found
