"""`asr lm`: language models trained on text, their perplexity, their weights in decoding."""

import json as json_format
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr.cli.device_option import DeviceName
from asr.cli.lm_tune import tune
from asr.cli.outputs import check_outputs
from asr.cli.train import report_outcome
from asr.data.text_corpus import normalised_sentences, read_text_corpus
from asr.files import write_text
from asr.lm.arpa import NgramModel
from asr.lm.perplexity import Perplexity
from asr.lm.provenance import NgramProvenance, read_provenance, text_digest
from asr.tokens.tokenizer import Tokenizer

app = typer.Typer(
    no_args_is_help=True,
    help="Train language models over pieces or words; score text, tune weights.",
)
app.command()(tune)


@app.command(
    hidden=True,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def rescore() -> None:
    """Name of `asr rescore` up to 0.1.0."""
    print(
        "error: expected `asr rescore HYP --add NAME=LM --out OUT`, found its former name, "
        "`asr lm rescore`; see `asr rescore --help`",
        file=sys.stderr,
    )
    raise typer.Exit(2)


@app.command()
def train(
    *,
    kind: Annotated[
        Literal["ngram", "word-ngram", "transformer"],
        typer.Option(
            "--type",
            help="Kind of language model; word-ngram is over words, the others over pieces.",
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(
            help="Text, plain or .gz, one sentence a line, or a manifest (.jsonl); repeat it for "
            "several files (n-grams)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to write, or ARPA file (.arpa, .arpa.gz) of a word-ngram; it must be new "
            "unless --resume is given."
        ),
    ],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The recogniser's tokenizer: a file, or the folder that holds it; not for a "
            "word-ngram."
        ),
    ] = None,
    order: Annotated[
        int | None,
        typer.Option(
            min=2, help="n-grams: pieces or words in the longest of them; kenlm reads up to 6."
        ),
    ] = None,
    min_word_count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="word-ngram: how often a word must occur; rarer ones are never recognised. By "
            "default once.",
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="word-ngram: text whose words are known too, such as a list of words."),
    ] = None,
    min_counts: Annotated[
        str | None,
        typer.Option(
            help="n-grams: how often those of order 1, 2, ... must occur to stay, such as "
            "1,1,2,2; by default all stay."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="transformer: config file (.toml), or the name of one that comes with the "
            "package, such as lm/transformer_small."
        ),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="transformer: text to validate on.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="transformer: replace a value of the config, such as model.attention.kind=alibi.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="transformer: go on where training stopped.")
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse",
            help="n-grams: do nothing where the model at --out was made from the same texts, "
            "tokenizer and options; where it was made from others or does not say, replace it.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="n-grams: train nothing; exit 1 unless the model at --out was made from the same "
            "texts, tokenizer and options.",
        ),
    ] = False,
) -> None:
    """Train a language model over a recogniser's token pieces, or over words.

    An n-gram model is an interpolated modified Kneser-Ney estimate, written
    as an ARPA file that kenlm reads. A Transformer is trained like a
    recogniser, with any attention that can be causal; Ctrl-C saves and
    stops. Sentences with characters that the tokenizer lacks are left out.
    """
    if kind != "transformer":
        _refuse(kind, {"--config": config, "--validation": validation, "--set": overrides})
        if order is None:
            raise typer.BadParameter(f"expected --order with --type {kind}, found none")
        if kind == "word-ngram":
            _refuse(kind, {"--tokenizer": tokenizer})
        else:
            _refuse(kind, {"--min-word-count": min_word_count, "--words": words})
            tokenizer = _given(tokenizer, kind)
        if reuse and check:
            raise typer.BadParameter("expected --reuse or --check, found both")
        inputs = _NgramInputs(
            text=text,
            tokenizer=tokenizer,
            order=order,
            min_word_count=min_word_count or 1,
            words=words,
            min_counts=None if min_counts is None else _integers(min_counts),
        )
        provenance = inputs.provenance()
        found = read_provenance(out) if reuse or check else None
        if found == provenance:
            print(f"up to date: {out}")
        elif check:
            raise ValueError(
                f"expected a language model made from these texts and options at {out}, found "
                f"{_what_is_there(out, found)}; make it with --reuse in place of --check"
            )
        else:
            inputs.train(out, provenance, replace=reuse)
        return
    _refuse(kind, {"--reuse": reuse, "--check": check})
    of_ngrams = {"--order": order, "--min-counts": min_counts}
    _refuse(kind, {**of_ngrams, "--min-word-count": min_word_count, "--words": words})
    if config is None or validation is None or len(text) != 1:
        raise typer.BadParameter(
            "expected --config, --validation and one --text with --type transformer"
        )
    paths = {"train": text[0], "validation": validation, "tokenizer": _given(tokenizer, kind)}
    settings = [f"data.{name}={path}" for name, path in paths.items()]
    _train_transformer(config, out, [*settings, *(overrides or [])], resume=resume)


def _refuse(kind: str, options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"expected no {', '.join(given)} with --type {kind}")


def _given(tokenizer: Path | None, kind: str) -> Path:
    if tokenizer is None:
        raise typer.BadParameter(f"expected --tokenizer with --type {kind}, found none")
    return tokenizer


@dataclass(frozen=True, kw_only=True)
class _NgramInputs:
    """Provenance of an n-gram model: texts, settings and, over token pieces, the tokenizer."""

    text: Sequence[Path]
    tokenizer: Path | None
    order: int
    min_word_count: int
    words: Path | None
    min_counts: Sequence[int] | None

    def provenance(self) -> NgramProvenance:
        of_words = self.tokenizer is None
        return NgramProvenance(
            type="word-ngram" if of_words else "ngram",
            order=self.order,
            texts_sha256=tuple(map(text_digest, self.text)),
            min_counts=None if self.min_counts is None else tuple(self.min_counts),
            tokenizer_sha256=None if self.tokenizer is None else self._pieces().digest,
            min_word_count=self.min_word_count if of_words else None,
            words_sha256=None if self.words is None else text_digest(self.words),
        )

    def _pieces(self) -> Tokenizer:
        assert self.tokenizer is not None
        return Tokenizer.load(self.tokenizer)

    def train(self, out: Path, provenance: NgramProvenance, *, replace: bool) -> None:
        if self.tokenizer is None:
            from asr.lm.word_level import train_word_ngram

            model = train_word_ngram(
                normalised_sentences(self.text),
                out,
                order=self.order,
                min_word_count=self.min_word_count,
                more_words=() if self.words is None else _words(self.words),
                min_counts=self.min_counts,
                provenance=provenance,
                replace=replace,
            )
            print(f"{_sizes(model)} in {out}")
            return
        from asr.lm.ngram import train_ngram

        pieces = self._pieces()
        corpus = read_text_corpus(self.text, pieces)
        model = train_ngram(
            corpus,
            pieces,
            out,
            order=self.order,
            min_counts=self.min_counts,
            provenance=provenance,
            replace=replace,
        )
        print(
            f"{_sizes(model)} from {corpus.tokens} tokens, {corpus.words} words, "
            f"{len(corpus.sentences)} sentences, in {out}"
        )


def _what_is_there(out: Path, found: NgramProvenance | None) -> str:
    if not out.exists():
        return "none"
    return "one that does not say what it was made from" if found is None else "one of others"


def _words(path: Path) -> Iterator[str]:
    return chain.from_iterable(sentence.split() for sentence in normalised_sentences([path]))


def _sizes(model: NgramModel) -> str:
    return ", ".join(f"{len(each.grams)} {n}-grams" for n, each in enumerate(model.orders, start=1))


def _train_transformer(config: Path, out: Path, overrides: list[str], *, resume: bool) -> None:
    from asr.config import LanguageModelExperimentConfig, load_config_as
    from asr.training.language_model import train_language_model

    loaded = load_config_as(LanguageModelExperimentConfig, config, overrides)
    report_outcome(train_language_model(loaded, out, resume=resume), out)


@app.command()
def score(
    lm: Annotated[Path, typer.Argument(metavar="LM", help="Folder that `asr lm train` wrote.")],
    text: Annotated[
        list[Path], typer.Argument(metavar="TEXT", help="Text, plain or .gz, one sentence a line.")
    ],
    *,
    segment_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="transformer: score the text as one stream in segments of so many tokens; by "
            "default each sentence for itself.",
        ),
    ] = None,
    memory_tokens: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="transformer, with --segment-tokens: tokens before a token that it sees.",
            show_default="0",
        ),
    ] = None,
    device: DeviceName = "auto",
    json: Annotated[
        Path | None, typer.Option(help="File to write the figures to, as JSON.")
    ] = None,
) -> None:
    """Print how well a language model predicts text: perplexity per word and per token.

    A Transformer can be shown more of what lies before a token than in
    training: --segment-tokens and --memory-tokens.

    The end of a sentence counts as a word and as a token. Sentences with
    characters that the tokenizer lacks are left out.
    """
    from asr.lm.load import load_language_model

    if memory_tokens is not None and segment_tokens is None:
        raise typer.BadParameter("needs --segment-tokens", param_hint="--memory-tokens")
    check_outputs([json], inputs=text)
    model = load_language_model(lm, device=device)
    corpus = read_text_corpus(text, model.tokenizer)
    if not corpus.sentences:
        raise ValueError(
            f"expected sentences to score, found none that the tokenizer can encode in "
            f"{', '.join(map(str, text))}; give other text"
        )
    if segment_tokens is None:
        log_prob = float(model.sentence_log_probs(corpus.sentences).sum())
    else:
        log_prob = model.stream_log_prob(
            corpus.sentences, segment_tokens=segment_tokens, memory_tokens=memory_tokens or 0
        )
    perplexity = Perplexity(log_prob=log_prob, corpus=corpus)
    if json is not None:
        write_text(json, json_format.dumps(perplexity.record(), indent=1) + "\n")
    print(
        f"perplexity {perplexity.per_word:.2f} per word, {perplexity.per_token:.4f} per token\n"
        f"log-probability {perplexity.log_prob:.2f} (natural logarithm)\n"
        f"{len(corpus.sentences)} sentences, {corpus.words} words, {corpus.tokens} tokens\n"
        f"{corpus.out_of_vocabulary_words} words out of vocabulary, in {corpus.left_out} sentences "
        "that are left out"
    )


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"expected whole numbers separated by commas in --min-counts, found {text!r}; "
            "give such as 1,1,2,2"
        ) from None
