"""Small experiments that put each paper's headline to a test that could fail."""
