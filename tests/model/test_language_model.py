"""Language models with every attention that can be causal."""

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.lm.neural import NeuralLanguageModel, NeuralScorer, sentence_log_probs, stream_log_prob
from asr.model.attention import ATTENTION, Mode, causal
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.tokens.tokenizer import Tokenizer

_PIECES = 9
_SENTENCES = [np.array(each, dtype=np.int32) for each in ([3, 1, 4, 1, 5, 9, 2, 6], [2, 7], [])]


def _model(word: str, dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        width=32,
        layers=2,
        heads=4,
        dropout=dropout,
        attention={"kind": word},  # type: ignore[arg-type]
    )
    model = LanguageModel(config, vocab_size=_PIECES)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.after_step()
    return model.eval()


@torch.no_grad()
def _score(model: LanguageModel, labels: Tensor, mode: Mode | None = None) -> float:
    """Log-probability of all labels after the first, in one pass."""
    lengths = torch.tensor([len(labels) - 1])
    log_probs = model(labels[None, :-1], lengths, mode=mode).log_probs
    return float(log_probs[0].gather(1, labels[1:, None]).sum())


@pytest.fixture(params=sorted(set(ATTENTION) - {"linformer"}))
def word(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_log_probs_are_normalised_and_causal(word: str) -> None:
    model, tokens = _model(word), torch.tensor([[0, 3, 1, 4, 1, 5]])
    output = model(tokens, torch.tensor([6])).log_probs
    torch.testing.assert_close(output.exp().sum(dim=2), torch.ones(1, 6))
    tokens[0, 4:] = 7
    changed = model(tokens, torch.tensor([6])).log_probs
    torch.testing.assert_close(changed[:, :4], output[:, :4])
    assert not torch.allclose(changed[:, 4], output[:, 4])


def test_sentences_are_scored_each_for_itself(word: str) -> None:
    model = _model(word)
    together = sentence_log_probs(model, _SENTENCES)
    for sentence, score in zip(_SENTENCES, together.tolist(), strict=True):
        labels = [0, *sentence.tolist(), 0]
        own = _score(model, torch.tensor(labels))
        assert score == pytest.approx(own, abs=1e-4)


def test_scorer_refuses_what_needs_the_whole_input() -> None:
    with pytest.raises(ValueError, match="expected the whole input in one call"):
        NeuralScorer(_model("reformer"), context_tokens=16)


@pytest.mark.parametrize("word", sorted(set(ATTENTION) - {"linformer", "reformer"}))
def test_scorer_equals_whole_sentences(word: str) -> None:
    model = _model(word)
    scorer = NeuralScorer(model, context_tokens=None if word == "performer" else 16)
    state = scorer.start(2)
    shapes = [tensor.shape for tensor in state]
    scores = torch.zeros(2)
    for label in _SENTENCES[0].tolist():
        scores += scorer.scores(state)[:, label - 1]
        state = scorer.advance(state, torch.tensor([label, label])).select(torch.tensor([1, 0]))
        assert [tensor.shape for tensor in state] == shapes
    scores += scorer.end(state)
    expected = sentence_log_probs(model, _SENTENCES[:1])[0]
    torch.testing.assert_close(scores, expected.float().expand(2), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "section", [{"kind": "performer"}, {"kind": "longformer", "window_frames": 9, "dilation": 3}]
)
def test_scorers_of_what_needs_a_context_of_its_own(
    section: dict[str, object], letters: Tokenizer
) -> None:
    config = LanguageModelConfig(
        width=16,
        layers=1,
        heads=2,
        dropout=0.0,
        attention=section,  # type: ignore[arg-type]
    )
    model = LanguageModel(config, vocab_size=9).eval()
    scorer = NeuralLanguageModel(letters, model, 16).scorer()
    state = scorer.start(1)
    for label in (3, 1, 4):
        state = scorer.advance(state, torch.tensor([label]))
    expected = model(torch.tensor([[0, 3, 1, 4]]), torch.tensor([4])).log_probs[:, -1, 1:]
    torch.testing.assert_close(scorer.scores(state), expected, atol=1e-5, rtol=1e-5)


def test_scorer_sees_its_context_alone() -> None:
    scorer = NeuralScorer(_model("transformer_xl"), context_tokens=2)
    states = [scorer.start(1) for _ in range(3)]
    for number, labels in enumerate(([8, 3, 1, 4, 1, 5], [6, 3, 1, 4, 1, 5], [8, 3, 1, 4, 2, 5])):
        for label in labels:
            states[number] = scorer.advance(states[number], torch.tensor([label]))
    same, other = (scorer.scores(state) for state in states[1:])
    # Two layers see four tokens before the last; the first of six is the fifth.
    torch.testing.assert_close(scorer.scores(states[0]), same)
    assert not torch.allclose(scorer.scores(states[0]), other)


@pytest.mark.parametrize("segment", [3, 5, 40])
def test_stream_with_memory_equals_one_pass(segment: int) -> None:
    model, stream = _model("transformer_xl"), torch.randint(0, _PIECES + 1, (38,))
    score = stream_log_prob(model, stream, segment_tokens=segment, memory_tokens=6)
    assert score == pytest.approx(_score(model, stream, causal(6)), abs=1e-3)


def test_stream_without_memory_forgets_at_each_segment() -> None:
    model, stream = _model("alibi"), torch.randint(0, _PIECES + 1, (21,))
    score = stream_log_prob(model, stream, segment_tokens=10, memory_tokens=0)
    parts = (stream[:11], stream[10:])
    own = sum(_score(model, part) for part in parts)
    assert score == pytest.approx(own, abs=1e-3)


def test_bfloat16_trains(word: str) -> None:
    model = _model(word, dropout=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.randint(0, _PIECES, (2, 40)), torch.tensor([40, 40]))
    assert output.log_probs.dtype == torch.float32
    output.log_probs.mean().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())


def test_attention_that_cannot_be_causal_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a mode among"):
        _model("linformer")


def test_odd_head_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an even number of features a head"):
        LanguageModelConfig(
            width=12,
            layers=1,
            heads=4,
            dropout=0.0,
            attention={"kind": "full"},  # type: ignore[arg-type]
        )


def test_a_search_shows_a_language_model_as_many_tokens_as_training_did(
    letters: Tokenizer,
) -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        width=16,
        layers=1,
        heads=2,
        dropout=0.0,
        attention={"kind": "transformer_xl"},  # type: ignore[arg-type]
    )
    model = LanguageModel(config, vocab_size=9).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    scorer = NeuralLanguageModel(letters, model, 6).scorer()
    state, labels = scorer.start(1), [3, 1, 4, 1, 5]
    for label in labels:
        state = scorer.advance(state, torch.tensor([label]))
    tokens = torch.tensor([[0, *labels]])
    expected = model(tokens, torch.tensor([6])).log_probs[:, -1, 1:]
    torch.testing.assert_close(scorer.scores(state), expected, atol=1e-5, rtol=1e-5)
