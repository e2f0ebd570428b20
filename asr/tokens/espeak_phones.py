"""Phones of words from espeak-ng: a program of its own, because espeak-ng is GPL.

Nothing of Attune imports this file, and it imports nothing of Attune. Standard input holds one JSON
object {voice, texts}; printed is one JSON list, the phones of each text in IPA, or null where there
is no such voice.
"""

import ctypes
import json
import os
import sys

# Names and values of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_PHONEMES_IPA = 2


class PhoneEngine:
    """espeak-ng for phones: the loaded library with the data folder of its package."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
        # The library has the path of its build machine compiled in, so the folder is always given.
        if (
            self._library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _INITIALIZE_DONT_EXIT
            )
            < 0
        ):
            raise RuntimeError(f"expected espeak-ng with {data}, found that it does not start")
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def select(self, voice: str) -> bool:
        """Take a voice; whether there is one of that name."""
        status: int = self._library.espeak_SetVoiceByName(voice.encode())
        return status == 0

    def phones(self, text: str) -> str:
        """The phones of a text, clause by clause."""
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest:
            clauses.append(
                self._library.espeak_TextToPhonemes(
                    ctypes.byref(rest), _CHARS_UTF8, _PHONEMES_IPA
                ).decode()
            )
        return " ".join(clauses)


def main() -> None:
    """Answer the one question on standard input."""
    question = json.load(sys.stdin)
    engine = PhoneEngine()
    known = engine.select(question["voice"])
    answer = [engine.phones(text) for text in question["texts"]] if known else None
    print(json.dumps(answer))  # noqa: T201 - the answer to the parent


if __name__ == "__main__":
    main()
