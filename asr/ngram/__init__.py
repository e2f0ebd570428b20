"""An n-gram language model over token pieces: estimation, ARPA files, batched scores."""
