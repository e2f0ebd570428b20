"""The one text normaliser, for the text that trains and for both sides of every score."""

import unicodedata

NORMALISER_VERSION = 1
"""Raised whenever `normalise` changes for any text: scores compare only within a version."""

_APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02bc\u02b9`")
# What joins two words in writing but is no Unicode dash: a blank keeps the words apart.
_JOINERS = frozenset("/\\\u2044\u2212")


def normalise(text: str) -> str:
    """Reduce a transcript to the words that were spoken.

    The rules, in this order:

    1. Apostrophes of every shape (curly, modifier letter, acute accent, backtick) become `'`.
    2. Unicode NFKC: full-width forms, ligatures, superscripts become their plain characters.
    3. Upper case, by Unicode's default mapping (no rules of a single language).
    4. Hyphens, dashes, underscores, slashes and the minus sign become a blank.
    5. Letters (A-Z and every other script), combining marks, digits, `'` and white space stay; all
       else, punctuation and symbols alike, is removed without a blank: `U.S.` gives `US`.
    6. Words of apostrophes alone are removed.
    7. White space is collapsed to single blanks and stripped at both ends.

    Text of LibriSpeech is unchanged by it, and so is text that it has normalised once.

    Args:
        text: Any text, also over several lines.

    Returns:
        The normalised text; empty where nothing spoken is left.
    """
    # NFKC would turn the acute accent that stands for an apostrophe into a blank and a mark.
    text = unicodedata.normalize("NFKC", text.replace("\u00b4", "'"))
    # Upper case may decompose, and removal may bring a letter and its mark together.
    text = unicodedata.normalize("NFKC", text.upper()).translate(_FATES)
    words = unicodedata.normalize("NFKC", text).split()
    return " ".join(word for word in words if word.strip("'"))


class _Fates(dict[int, str]):
    """What becomes of each character, found at its first use: all of Unicode would take long."""

    def __missing__(self, code: int) -> str:
        fate = self[code] = _fate(chr(code))
        return fate


def _fate(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    category = unicodedata.category(character)
    if character.isspace() or category in {"Pd", "Pc"} or character in _JOINERS:
        return " "
    return character if category[0] in "LMN" else ""


_FATES = _Fates()
