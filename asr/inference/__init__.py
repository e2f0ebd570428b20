"""Inference: audio to frames of scores, whole, in windows or as streams, and what comes of it."""
