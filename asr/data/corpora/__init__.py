"""Public corpora: one module each, and the literal dict `CORPORA` of their words.

`folder` and `table` read one's own recordings: they have no splits, and so are no entries.
"""

from collections.abc import Mapping

from asr.data.corpora.base import Corpus
from asr.data.corpora.common_voice import COMMON_VOICE
from asr.data.corpora.librispeech import LIBRISPEECH
from asr.data.corpora.synthetic import SYNTHETIC

__all__ = ["CORPORA", "Corpus"]

CORPORA: Mapping[str, Corpus] = {
    "synthetic": SYNTHETIC,
    "librispeech": LIBRISPEECH,
    "common_voice": COMMON_VOICE,
}
