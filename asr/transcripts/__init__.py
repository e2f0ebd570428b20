"""What decoding gives: hypotheses, word times, n-best lists, and the files that hold them."""
