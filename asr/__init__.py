"""Attune: train, decode and compare speech recognisers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.recognizer import Recognizer as Recognizer
    from asr.recognizer import load as load

__all__ = ["Recognizer", "load"]


def __getattr__(name: str) -> object:
    """Import torch and the rest at the first use of `asr.load` or `asr.Recognizer`, not before."""
    if name not in __all__:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    from asr import recognizer

    return getattr(recognizer, name)
