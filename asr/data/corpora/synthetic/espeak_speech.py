"""Speech synthesis with espeak-ng: a program of its own, because espeak-ng is GPL.

Nothing of Attune imports this file, and it imports nothing of Attune. Standard input holds JSON
lines {text, voice, rate_words_per_minute, pitch, pitch_range, seed, pcm}; for each, one file `pcm`
of 16-bit mono samples is written and one line {words: [[start_sample, end_sample], ...]} printed.
"""

import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE_RATE_HZ = 22050

# Names and values of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_END = 0, 1, 5
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
# Below the usual 100, at which several variants reach the library's limiter.
_VOLUME_PERCENT = 60
_POS_CHARACTER, _CHARS_UTF8 = 1, 1


class _Identifier(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identifier),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class SpeechEngine:
    """espeak-ng for speech: the loaded library with the data folder of its package."""

    def __init__(self) -> None:
        import espeakng_loader

        self._data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        # The library has the path of its build machine compiled in, so the folder is always given.
        rate_hz = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(self._data), _INITIALIZE_DONT_EXIT
        )
        if rate_hz != SAMPLE_RATE_HZ:
            raise RuntimeError(
                f"expected espeak-ng at {SAMPLE_RATE_HZ} Hz with {self._data}, found {rate_hz}"
            )
        self._samples: list[bytes] = []
        self._word_starts: list[int] = []
        self._end = 0
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:  # noqa: ANN401 - C pointers
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            if events[index].type == _EVENT_WORD:
                self._word_starts.append(events[index].sample)
            elif events[index].type == _EVENT_END:
                self._end = events[index].sample
            index += 1
        return 0

    def speak(self, job: dict[str, Any]) -> tuple[bytes, list[list[int]]]:
        """Speak one sentence; to be called once in a process, because the library keeps state.

        Returns:
            16-bit samples at SAMPLE_RATE_HZ, and [start, end) of each word in samples.
        """
        self._select(job)
        text = job["text"].encode()
        status = self._library.espeak_Synth(
            text, ctypes.c_size_t(len(text) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        words = job["text"].split()
        if status != 0 or len(self._word_starts) != len(words) or not self._samples:
            raise RuntimeError(
                f"expected {len(words)} word times for {job['text']!r} by {job['voice']}, found "
                f"{len(self._word_starts)} (espeak-ng status {status})"
            )
        ends = [*self._word_starts[1:], self._end]
        return b"".join(self._samples), [
            list(pair) for pair in zip(self._word_starts, ends, strict=True)
        ]

    def _select(self, job: dict[str, Any]) -> None:
        # The library takes an unknown variant silently for the plain voice.
        variant = job["voice"].partition("+")[2]
        if variant and not (self._data / "voices" / "!v" / variant).is_file():
            raise RuntimeError(
                f"expected a voice variant, found {variant!r}, unknown to {self._data}"
            )
        if self._library.espeak_SetVoiceByName(job["voice"].encode()) != 0:
            raise RuntimeError(f"expected a voice of espeak-ng, found {job['voice']!r}")
        settings = {
            _RATE: job["rate_words_per_minute"],
            _VOLUME: _VOLUME_PERCENT,
            _PITCH: job["pitch"],
            _RANGE: job["pitch_range"],
        }
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(job["seed"]))


def _in_child(work: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> bool:
    """Run `work(job)` in a copy of this process; whether it succeeded."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(job)
            sys.stdout.flush()
            status = 0
        except Exception as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201 - this file is a program
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def main() -> int:
    """Speak every line of standard input, each in a process forked from the same fresh state.

    espeak-ng's flutter, noise and filters go on from one utterance to the next, even through its
    own initialisation; a copy of a fresh process makes an utterance independent of the others.
    """
    engine = SpeechEngine()

    def speak(job: dict[str, Any]) -> None:
        samples, words = engine.speak(job)
        Path(job["pcm"]).write_bytes(samples)
        print(json.dumps({"words": words}))  # noqa: T201 - the answer to the parent

    for line in sys.stdin:
        job = json.loads(line)
        if not _in_child(speak, job):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
