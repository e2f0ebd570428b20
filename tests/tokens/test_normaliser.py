import hashlib
import os
import sys
from pathlib import Path

import pytest

from asr.tokens.normaliser import NORMALISER_VERSION, normalise

CASES = {
    "": "",
    " \n\t ": "",
    "it's": "IT'S",
    "it\u2019s": "IT'S",
    "it\uff07s don\u00b4t": "IT'S DON'T",
    "'tis the boys'": "'TIS THE BOYS'",
    "rock ' roll '' on": "ROCK ROLL ON",
    "twenty-one \u2013 or\u2014so": "TWENTY ONE OR SO",
    "and/or snake_case a\u2212b": "AND OR SNAKE CASE A B",
    "Hello, world!  (\u201cyes\u201d)\n no?": "HELLO WORLD YES NO",
    "U.S. 1,000 $5 50%": "US 1000 5 50",
    "Stra\u00dfe \u00e9t\u00e9 e\u0301t": "STRASSE \u00c9T\u00c9 \u00c9T",
    "\ufb01ne \uff21\uff22 x\u00b2 \u00bd": "FINE AB X2 1 2",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \u0915\u094d\u0937": (
        "\u041f\u0420\u0418\u0412\u0415\u0422 \u4f60\u597d \u0915\u094d\u0937"
    ),
    "soft\u00adhyphen \u2581piece <unk>": "SOFTHYPHEN PIECE UNK",
}
# What the rules of each version make of the same texts: the start of a SHA-256.
_DIGESTS = {1: "108f7c0df4986dc9"}


@pytest.mark.parametrize("text", CASES)
def test_normalise_follows_the_written_rules(text: str) -> None:
    assert normalise(text) == CASES[text]


def test_normalising_twice_changes_nothing_for_any_character() -> None:
    # Every 7th code point: all of them take two seconds, and the blocks are far longer than 7.
    for code in range(0, sys.maxunicode + 1, 7):
        once = normalise(f"a{chr(code)}b {chr(code)}")
        assert normalise(once) == once, hex(code)


def test_the_version_is_raised_with_the_rules() -> None:
    # Blocks that every version of Unicode in use agrees about: Latin to modifiers, punctuation.
    characters = [chr(code) for code in (*range(0x300), *range(0x2000, 0x2070))]
    texts = [*CASES, *(f"a{character}b {character}" for character in characters)]
    digest = hashlib.sha256("\n".join(map(normalise, texts)).encode()).hexdigest()
    assert digest.startswith(_DIGESTS[NORMALISER_VERSION]), (
        "the rules changed: raise NORMALISER_VERSION, add its digest, review CASES and docstring"
    )


def test_librispeech_transcripts_are_unchanged() -> None:
    if "ATTUNE_CORPORA" not in os.environ:
        pytest.skip("ATTUNE_CORPORA names no folder with real transcripts")
    files = list(Path(os.environ["ATTUNE_CORPORA"]).glob("LibriSpeech/*/*/*/*.trans.txt"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert len(lines) > 100
    for line in lines:
        _, text = line.split(" ", 1)
        assert normalise(text) == text
