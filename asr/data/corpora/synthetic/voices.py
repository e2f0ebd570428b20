"""The voices of each part of the synthetic corpus: espeak-ng accents with voice variants.

Variants that share formants (Mario and Michael, f2 and f5, m3 and Mike) are one family, and a
family serves one part only, so that dev and test voices are no relatives of training voices.
Whispers, robots, creaks and variants with displaced formants are in no part.
"""

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
_FIRST_SPEAKER = {"train": 1001, "dev": 2001, "test": 3001}


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One synthetic speaker.

    Args:
        speaker: Numeric id in LibriSpeech's manner.
        accent: Voice file of espeak-ng, for example en-gb-scotland; en is British English.
        variant: Voice variant of espeak-ng; empty for the accent's own voice.
        sex: F or M, as SPEAKERS.TXT has it.
    """

    speaker: int
    accent: str
    variant: str
    sex: Literal["F", "M"]

    @property
    def name(self) -> str:
        """The voice as espeak-ng takes it."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


_FEMALE_VARIANTS = """
    f1 f2 f3 f4 f5 linda belinda aunty Annie anika grandma shelby steph Andrea
"""

# The first voices of each part differ most, because a small corpus has only these.
_NAMES: dict[Split, str] = {
    "train": """
        en-us en-us+f3 en+m1 en-gb-x-rp+linda en+f1 en-us+m7 en-gb-scotland+f4 en-029+paul
        en-us+f1 en en-us+belinda en-gb-x-gbclan+m2 en-us+f4 en-us+edward en-gb-x-rp+f3 en-gb-x-rp
        en-us+Denis en+aunty en-us+klatt4 en-us+shelby en+Michael en-029+f3 en-us+m1 en+f4
        en-us+iven3 en-us+linda en-gb-x-gbcwmd+m8 en-us+miguel en-us+steph en+edward2 en-us+Mario
        en-gb-x-gbclan+f1 en-us+antonio en-gb-x-rp+john en-us+anika en-gb-scotland+m7 en-us+Reed
        en-gb-x-gbcwmd+belinda en-us+victor en+Diogo
    """,
    "dev": "en-us+grandma en+m4 en-us+ed en-gb-x-rp+Andrea en-us+Storm",
    "test": """
        en-us+f2 en+m3 en-gb-x-rp+m6 en-us+Annie en-us+robert en+f5 en-us+Mike en-gb-scotland+f2
        en-us+Gene en+quincy en-us+benjamin en-us+f5 en-us+Alex en-029+max
    """,
}


def _voice(speaker: int, name: str) -> Voice:
    accent, _, variant = name.partition("+")
    female = variant in _FEMALE_VARIANTS.split()
    return Voice(speaker=speaker, accent=accent, variant=variant, sex="F" if female else "M")


VOICES: dict[Split, tuple[Voice, ...]] = {
    split: tuple(_voice(_FIRST_SPEAKER[split] + i, name) for i, name in enumerate(names.split()))
    for split, names in _NAMES.items()
}
