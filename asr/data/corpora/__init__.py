"""Corpora: one module each, which downloads or generates it and writes its manifests."""
