"""`asr lm`: from text to a language model, and how well one predicts a text."""

import json as json_format
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr.scoring.perplexity import Perplexity
from asr.tokens.text_corpus import TextCorpus, read_text_corpus
from asr.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True, help="Train a language model over token pieces; score text with one."
)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the options of `asr lm train` say."""

    order: int
    min_counts: Sequence[int] | None


def _train_ngram(corpus: TextCorpus, tokenizer: Tokenizer, out: Path, settings: _Settings) -> str:
    """Write the folder; return what it holds, in words."""
    from asr.ngram.model import train_ngram

    model = train_ngram(
        corpus, tokenizer, out, order=settings.order, min_counts=settings.min_counts
    )
    sizes = (f"{len(order.grams)} {n}-grams" for n, order in enumerate(model.orders, start=1))
    return ", ".join(sizes)


_TRAINERS: Mapping[str, Callable[[TextCorpus, Tokenizer, Path, _Settings], str]] = {
    "ngram": _train_ngram
}


@app.command()
def train(
    *,
    kind: Annotated[Literal["ngram"], typer.Option("--type", help="Kind of language model.")],
    text: Annotated[
        list[Path],
        typer.Option(help="Text, plain or .gz, one sentence a line; repeat it for several files."),
    ],
    tokenizer: Annotated[
        Path, typer.Option(help="The recogniser's tokenizer: a file, or the folder that holds it.")
    ],
    order: Annotated[
        int, typer.Option(min=2, help="Token pieces in the longest n-grams; kenlm reads up to 6.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new.")],
    min_counts: Annotated[
        str | None,
        typer.Option(
            help="How often n-grams of order 1, 2, ... must occur to stay, such as 1,1,2,2; "
            "by default all stay."
        ),
    ] = None,
) -> None:
    """Train a language model over a recogniser's token pieces.

    An n-gram model is an interpolated modified Kneser-Ney estimate, written
    as an ARPA file that kenlm reads. Sentences with characters that the
    tokenizer lacks are left out.
    """
    settings = _Settings(
        order=order, min_counts=None if min_counts is None else _integers(min_counts)
    )
    pieces = Tokenizer.load(tokenizer)
    corpus = _read(text, pieces)
    sizes = _TRAINERS[kind](corpus, pieces, out, settings)
    print(
        f"{sizes} from {corpus.tokens} tokens, {corpus.words} words, "
        f"{len(corpus.sentences)} sentences, in {out}"
    )


@app.command()
def score(
    lm: Annotated[Path, typer.Argument(metavar="LM", help="Folder that `asr lm train` wrote.")],
    text: Annotated[
        list[Path], typer.Argument(metavar="TEXT", help="Text, plain or .gz, one sentence a line.")
    ],
    json: Annotated[
        Path | None, typer.Option(help="File to write the figures to, as JSON.")
    ] = None,
) -> None:
    """Print how well a language model predicts text: perplexity per word and per token.

    The end of a sentence counts as a word and as a token. Sentences with
    characters that the tokenizer lacks are left out.
    """
    from asr.language_models import load_language_model

    model = load_language_model(lm)
    corpus = _read(text, model.tokenizer)
    if not corpus.sentences:
        raise ValueError(
            f"expected sentences to score, found none that the tokenizer can encode in "
            f"{', '.join(map(str, text))}; give other text"
        )
    log_prob = float(model.sentence_log_probs(corpus.sentences).sum())
    perplexity = Perplexity(log_prob=log_prob, corpus=corpus)
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        part = json.with_name(json.name + ".part")
        part.write_text(json_format.dumps(perplexity.record(), indent=1) + "\n", encoding="utf-8")
        part.replace(json)
    print(
        f"perplexity {perplexity.per_word:.2f} per word, {perplexity.per_token:.4f} per token\n"
        f"log-probability {perplexity.log_prob:.2f} (natural logarithm)\n"
        f"{len(corpus.sentences)} sentences, {corpus.words} words, {corpus.tokens} tokens\n"
        f"{corpus.out_of_vocabulary_words} words out of vocabulary, in {corpus.left_out} sentences "
        "that are left out"
    )


def _read(paths: Iterable[Path], tokenizer: Tokenizer) -> TextCorpus:
    corpus = read_text_corpus(paths, tokenizer)
    if corpus.left_out:
        logger.warning(
            "%d of %d sentences are left out: the tokenizer lacks %s",
            corpus.left_out,
            corpus.left_out + len(corpus.sentences),
            " ".join(sorted(corpus.unknown_characters)),
        )
    return corpus


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"expected whole numbers separated by commas in --min-counts, found {text!r}; "
            "give such as 1,1,2,2"
        ) from None
