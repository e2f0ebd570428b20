"""Attune: train, decode and compare speech recognisers."""
