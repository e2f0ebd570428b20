"""The embedded corpus: sentences of a small grammar spoken by espeak-ng, as LibriSpeech."""

from asr.data.corpora.synthetic.corpus import SplitSummary, SyntheticSummary, generate

__all__ = ["SplitSummary", "SyntheticSummary", "generate"]
