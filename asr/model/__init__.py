"""Encoders, their attention and parts, and the language model's network."""
