"""Encoders, their attention and parts, and the language model's network."""

from asr.former_names import former_names

__getattr__ = former_names(__name__)
