"""Inference: acoustic model, long recordings, streaming, forced alignment and n-best rescoring."""
