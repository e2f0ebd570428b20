"""Attune: train, decode and compare speech recognisers."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.ctc import build_model as build_model
    from asr.recognizer import Recognizer as Recognizer
    from asr.recognizer import load as load

__all__ = ["Recognizer", "__version__", "build_model", "load"]

try:
    __version__ = version("attune-asr")
except PackageNotFoundError:
    # A checkout on the path that was never installed.
    __version__ = "0+not-installed"

_PLACES = {"Recognizer": "asr.recognizer", "load": "asr.recognizer", "build_model": "asr.ctc"}


def __getattr__(name: str) -> object:
    """Import torch and the rest at the first use of a name that needs them, not before."""
    if name not in _PLACES:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
