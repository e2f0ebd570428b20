"""Figures of a validation against counts by hand."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.data.batch import Batch
from asr.data.loader import EvaluationLoader
from asr.data.text_corpus import TextCorpus
from asr.data.token_stream import TextDataConfig, TokenBatch
from asr.tokens.tokenizer import Tokenizer
from asr.training.language_model import LanguageModelValidator
from asr.training.learner import Learner
from asr.training.objective import StepOutput
from asr.training.validation import CtcValidator


@dataclass
class _Heard:
    """A learner that gives what it was told to."""

    outputs: list[StepOutput]

    def evaluate(self, batch: object) -> StepOutput:
        return self.outputs.pop(0)


def _log_probs(tokenizer: Tokenizer, *texts: str) -> Tensor:
    """(batch, time, vocab) that spell the texts, whose neighbouring letters differ."""
    paths = [tokenizer.encode(text) for text in texts]
    frames = max(map(len, paths))
    labels = torch.tensor([path + [0] * (frames - len(path)) for path in paths])
    return torch.nn.functional.one_hot(labels, tokenizer.vocab_size + 1).float().log()


def _batch(names: str, label_lengths: list[int]) -> Batch:
    count = len(names)
    return Batch(
        ids=tuple(names),
        waveforms=torch.zeros(count, 16000),
        waveform_lengths=torch.full((count,), 16000),
        labels=torch.ones(count, 9, dtype=torch.int64),
        label_lengths=torch.tensor(label_lengths),
    )


def test_figures_by_hand(letters: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    heard, streamed = ("A DOG", "FOX"), ("A", "FOX")
    outputs = [
        StepOutput(
            log_probs=_log_probs(letters, *heard),
            streaming_log_probs=_log_probs(letters, *streamed),
            lengths=torch.tensor([6, 6]),
            nats=torch.tensor([6.0, torch.inf]),
            auxiliary=torch.tensor(0.0),
        ),
        StepOutput(
            log_probs=_log_probs(letters, "OVER"),
            streaming_log_probs=_log_probs(letters, "OVER"),
            lengths=torch.tensor([5]),
            nats=torch.tensor([3.0]),
            auxiliary=torch.tensor(0.0),
        ),
    ]
    validator = CtcValidator(
        cast(EvaluationLoader, [_batch("xy", [6, 4]), _batch("z", [3])]),
        fabric=Fabric(accelerator="cpu", devices=1),
        tokenizer=letters,
        references={"x": "a dog", "y": "box", "z": "over"},
        sample_rate_hz=16000,
        frame_seconds=0.04,
    )
    found = validator.run(cast(Learner, _Heard(outputs)), stop=lambda: False)
    # One of four words and one of twelve characters is wrong, in chunks another word is missing. Of
    # the second utterance, which CTC cannot align, the loss has neither nats nor its four labels.
    expected = {"loss": 9 / 9, "wer": 1 / 4, "cer": 1 / 12, "streaming_wer": 2 / 4}
    assert found == pytest.approx(expected)
    assert "1 validation utterances are too short for their transcript" in caplog.text


class _Coin:
    """A language model to which each token is one of two."""

    tokens = 0

    def evaluate(self, batch: TokenBatch) -> StepOutput:
        self.tokens += batch.targets.numel()
        nats = torch.full((len(batch.ids),), batch.targets.shape[1] * math.log(2))
        return StepOutput(nats=nats, auxiliary=torch.tensor(0.0))


def test_perplexity_of_words_counts_the_ends_of_sentences() -> None:
    sentence = np.array([1, 2, 3, 1, 2], dtype=np.int32)
    corpus = TextCorpus(
        sentences=[sentence] * 8,
        words=16,
        left_out=0,
        out_of_vocabulary_words=0,
        unknown_characters=frozenset(),
    )
    config = TextDataConfig(segment_tokens=4, batch_tokens=8)
    learner = _Coin()
    validator = LanguageModelValidator(corpus, config, fabric=Fabric(accelerator="cpu", devices=1))
    found = validator.run(cast(Learner, learner), stop=lambda: False)
    # Eight sentences of two words and an end each, of five tokens and an end: two tokens a word.
    assert found == pytest.approx({"loss": math.log(2), "word_perplexity": 4.0})
    assert learner.tokens == 48
