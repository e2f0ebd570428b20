"""Claims about language models, on a text of the user's: letters, small models, segments."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.claims.claim import Claim, Curve, Measurement, Thresholds
from asr.claims.frame_model import parameter_count
from asr.data.text_corpus import read_text_corpus
from asr.data.token_stream import SegmentLoader, TextDataConfig, join_sentences
from asr.lm.neural import stream_log_prob
from asr.model.attention.softmax import SoftmaxAttention
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.tokens.tokenizer import train_tokenizer

_WIDTH, _HEADS, _LAYERS = 96, 4, 2
_SEGMENT_TOKENS, _BATCH_TOKENS = 64, 2048
_STEPS, _RATE = 1000, 2e-3
_SCORED_TOKENS = 16384
_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Letters:
    """A text as streams of letters.

    Args:
        training: (token,) int64.
        held_out: (token,) int64, the end of the text.
        vocab_size: Number of letters.
    """

    training: Tensor
    held_out: Tensor
    vocab_size: int


def read_letters(path: Path) -> Letters:
    """Read a text, one sentence a line, plain or .gz.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The text is too short.
    """
    tokenizer = train_tokenizer(["abcdefghijklmnopqrstuvwxyz'"], vocab_size=None, kind="char")
    stream = join_sentences(read_text_corpus([path], tokenizer).sentences)
    if len(stream) < 8 * _SCORED_TOKENS:
        raise ValueError(
            f"{path}: expected text of at least {8 * _SCORED_TOKENS} letters, found {len(stream)}; "
            "give more"
        )
    return Letters(
        training=stream[:-_SCORED_TOKENS],
        held_out=stream[-_SCORED_TOKENS:],
        vocab_size=tokenizer.vocab_size,
    )


def _trained(attention: Mapping[str, Any], letters: Letters, *, seed: int) -> LanguageModel:
    torch.manual_seed(seed)
    config = LanguageModelConfig(
        width=_WIDTH,
        layers=_LAYERS,
        heads=_HEADS,
        dropout=0.0,
        attention=dict(attention),  # type: ignore[arg-type]
    )
    model = LanguageModel(config, vocab_size=letters.vocab_size)
    sizes = TextDataConfig(segment_tokens=_SEGMENT_TOKENS, batch_tokens=_BATCH_TOKENS)
    loader = SegmentLoader(letters.training, sizes, seed=seed, rank=0, world_size=1)
    groups = model.parameter_groups(learning_rate=_RATE, weight_decay=0.0)
    optimizer = torch.optim.Adam(groups)
    lengths = torch.full((_BATCH_TOKENS // _SEGMENT_TOKENS,), _SEGMENT_TOKENS)
    for step in range(_STEPS):
        epoch, number = divmod(step, len(loader))
        if number == 0:
            loader.load_state_dict({"epoch": epoch, "next_batch": 0})
            batches = iter(loader)
        batch = next(batches)
        output = model(batch.inputs, lengths)
        loss = nn.functional.nll_loss(output.log_probs.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss + sum(output.losses.values()))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.after_step()
    return model.eval()


def _loss(model: LanguageModel, letters: Letters, *, segment: int, memory: int = 0) -> float:
    """Nats a letter of the held-out text."""
    score = stream_log_prob(model, letters.held_out, segment_tokens=segment, memory_tokens=memory)
    return -score / (len(letters.held_out) - 1)


def _alibi(letters: Letters, seed: int) -> Measurement:
    lines = {
        name: [
            (float(segment), _loss(model, letters, segment=segment))
            for segment in (_SEGMENT_TOKENS * factor for factor in _FACTORS)
        ]
        for name, model in (
            ("alibi", _trained({"kind": "alibi"}, letters, seed=seed)),
            ("sinusoidal", _trained({"kind": "full"}, letters, seed=seed)),
        )
    }
    ratios = {name: points[-1][1] / points[0][1] for name, points in lines.items()}
    return Measurement(
        values={
            "loss_ratio_8x": ratios["alibi"],
            "sinusoidal_loss_ratio_8x": ratios["sinusoidal"],
        },
        curves=(
            Curve(
                title=f"Loss against segment length, trained at {_SEGMENT_TOKENS} letters",
                x="letters of a segment",
                y="nats a letter",
                lines=lines,
            ),
        ),
    )


def _transformer_xl(letters: Letters, seed: int) -> Measurement:
    model = _trained({"kind": "transformer_xl"}, letters, seed=seed)
    without = _loss(model, letters, segment=_SEGMENT_TOKENS)
    points = [
        (float(memory), _loss(model, letters, segment=_SEGMENT_TOKENS, memory=memory))
        for memory in (_SEGMENT_TOKENS // 4, _SEGMENT_TOKENS // 2, _SEGMENT_TOKENS)
    ]
    return Measurement(
        values={"loss_ratio_of_memory": points[-1][1] / without},
        curves=(
            Curve(
                title="Loss against memory",
                x="letters of memory",
                y="nats a letter",
                lines={"transformer_xl": points},
            ),
        ),
    )


def _adaptive_span(letters: Letters, seed: int) -> Measurement:
    span = {
        "max_frames": _SEGMENT_TOKENS,
        "ramp_frames": 8,
        "initial_fraction": 1.0,
        "loss_weight": 2e-4,
        "rate_factor": 5.0,
    }
    model = _trained({"kind": "adaptive_span", "span": span}, letters, seed=seed)
    fractions = [
        module.scores.span.fraction[0]
        for module in model.modules()
        if isinstance(module, SoftmaxAttention) and module.scores.span is not None
    ]
    whole = _trained({"kind": "transformer_xl"}, letters, seed=seed)
    losses = [_loss(each, letters, segment=_SEGMENT_TOKENS) for each in (model, whole)]
    return Measurement(
        values={
            "mean_span_fraction": float(torch.stack(fractions).detach().mean()),
            "loss_ratio": losses[0] / losses[1],
        }
    )


def _all_attention(letters: Letters, seed: int) -> Measurement:
    models = [
        _trained({"kind": kind}, letters, seed=seed) for kind in ("all_attention", "transformer_xl")
    ]
    losses = [_loss(each, letters, segment=_SEGMENT_TOKENS) for each in models]
    sizes = [parameter_count(each.stack) for each in models]
    return Measurement(
        values={"parameters_ratio": sizes[0] / sizes[1], "loss_ratio": losses[0] / losses[1]}
    )


_CLAIMS: Mapping[str, tuple[str, str, Any]] = {
    "language_alibi": (
        "Trained on short segments, a language model with ALiBi is as good on segments 8 times as "
        "long, where one with sinusoidal positions is not",
        "Press et al. 2022",
        _alibi,
    ),
    "language_transformer_xl": (
        "Memory of earlier segments lowers the loss",
        "Dai et al. 2019",
        _transformer_xl,
    ),
    "language_adaptive_span": (
        "Learned spans shrink at little loss",
        "Sukhbaatar et al. 2019 (Adaptive Attention Span)",
        _adaptive_span,
    ),
    "language_all_attention": (
        "Persistent vectors do the work of the feed-forward module at equal parameters",
        "Sukhbaatar et al. 2019 (Persistent Memory)",
        _all_attention,
    ),
}
LANGUAGE_CLAIMS = tuple(_CLAIMS)
"""Words of the claims that need a text."""


def language_claims(text: Path) -> Mapping[str, Claim]:
    """The claims about language models, on a text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The text is too short.
    """
    letters = read_letters(text)

    def claim(headline: str, source: str, measure: Any) -> Claim:  # noqa: ANN401
        def run(seed: int, thresholds: Thresholds) -> Measurement:
            result: Measurement = measure(letters, seed)
            return result

        return Claim(headline=headline, source=source, measure=run)

    return {name: claim(*parts) for name, parts in _CLAIMS.items()}
