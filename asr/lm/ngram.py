"""The folder of an n-gram language model: ARPA file, tokenizer, and how it came about."""

import dataclasses
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from asr.data.text_corpus import TextCorpus
from asr.files import ARPA_FILE, LM_DESCRIPTION_FILE, TOKENIZER_FILE, partial_path, write_text
from asr.lm.arpa import SENTENCE_BEGIN, SENTENCE_END, UNKNOWN, NgramModel, read_arpa, write_arpa
from asr.lm.estimate import estimate
from asr.lm.ngram_table import NgramTable
from asr.lm.provenance import NgramProvenance, as_table
from asr.lm.scorer import Scorer
from asr.schema import STRICT, parse
from asr.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NgramDescription:
    """What `lm.toml` says."""

    type: Literal["ngram"] = "ngram"
    """Kind of the language model."""
    order: int = Field(ge=2)
    """Tokens in the longest n-grams."""
    min_counts: tuple[int, ...]
    """Occurrences that an n-gram of order 1, 2, ... needed to stay."""
    sentences: int = Field(ge=1)
    """Sentences trained on."""
    tokens: int = Field(ge=1)
    """Tokens trained on, without the ends of sentences."""
    tokenizer_sha256: str
    """Digest of `tokenizer.model`, hexadecimal."""
    made_from: NgramProvenance | None = None
    """What the model was estimated from; models of version 0.1.0 do not say."""


Sentences = Sequence[NDArray[np.int32]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NgramLanguageModel:
    """A language model that scores.

    Args:
        table: The n-grams.
        tokenizer: Its pieces are what the table scores.
        description: How the model came about.
    """

    table: NgramTable
    tokenizer: Tokenizer
    description: NgramDescription

    def scorer(self) -> Scorer[Any]:
        """The table itself."""
        return self.table

    def sentence_log_probs(self, sentences: Sentences) -> Tensor:
        """See LoadedLanguageModel."""
        return self.table.sentence_log_probs(sentences)

    def stream_log_prob(
        self, sentences: Sentences, *, segment_tokens: int, memory_tokens: int
    ) -> float:
        """Refused.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "expected a transformer with --segment-tokens, found an n-gram model, which sees "
            "nothing beyond a sentence; leave the option out"
        )


def train_ngram(
    corpus: TextCorpus,
    tokenizer: Tokenizer,
    out: Path,
    *,
    order: int,
    min_counts: Sequence[int] | None = None,
    provenance: NgramProvenance | None = None,
    replace: bool = False,
) -> NgramModel:
    """Estimate a language model and write its folder, which is whole or not there.

    Args:
        corpus: The text, as the tokenizer encodes it.
        tokenizer: The recogniser's tokenizer.
        out: The folder; it must be new.
        order: Tokens in the longest n-grams; kenlm reads up to 6.
        min_counts: As in `estimate`.
        provenance: What the text was read from, to be written with the model.
        replace: Whether an n-gram model may be there, which is removed once the new one is whole.

    Returns:
        The model.

    Raises:
        ValueError: The folder is there, or is no n-gram model to replace, a setting is wrong, there
            is no text, or a piece of the tokenizer has a name that ARPA files keep for themselves.
    """
    if out.exists() and not replace:
        raise ValueError(f"expected a new folder, found {out}; remove it or give another --out")
    if out.exists() and not _is_ngram(out):
        raise ValueError(
            f"expected an n-gram model with {LM_DESCRIPTION_FILE} to replace, found {out} without; "
            "remove it or give another --out"
        )
    reserved = {SENTENCE_BEGIN, SENTENCE_END, UNKNOWN}.intersection(tokenizer.pieces[1:])
    if reserved:
        raise ValueError(
            f"expected {UNKNOWN} as the first piece and no {SENTENCE_BEGIN} or {SENTENCE_END}, "
            f"found {sorted(reserved)} among the other pieces; make the tokenizer with "
            "`asr tokenize`"
        )
    orders = estimate(
        corpus.sentences, vocab_size=tokenizer.vocab_size, order=order, min_counts=min_counts
    )
    model = NgramModel(words=[SENTENCE_BEGIN, *tokenizer.pieces, SENTENCE_END], orders=orders)
    description = NgramDescription(
        order=order,
        min_counts=tuple(min_counts or [1] * order),
        sentences=len(corpus.sentences),
        tokens=corpus.tokens,
        tokenizer_sha256=tokenizer.digest,
        made_from=provenance,
    )
    part = partial_path(out)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        write_arpa(model, part / ARPA_FILE)
        tokenizer.save(part)
        write_text(part / LM_DESCRIPTION_FILE, tomli_w.dumps(as_table(description)))
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return model


def _is_ngram(folder: Path) -> bool:
    described = (folder / LM_DESCRIPTION_FILE).is_file()
    return described and read_description(folder).get("type") == "ngram"


def load_ngram(folder: Path) -> NgramLanguageModel:
    """Load a language model; every file is checked against the others.

    Args:
        folder: What `train_ngram` wrote; the ARPA file may since have been gzipped.

    Returns:
        The language model.

    Raises:
        FileNotFoundError: The folder or a file in it is missing.
        ValueError: A file is damaged or does not belong to the others.
    """
    description = parse(NgramDescription, read_description(folder), where=LM_DESCRIPTION_FILE)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE, digest=description.tokenizer_sha256)
    path = folder / ARPA_FILE
    if not path.exists():
        path = path.with_name(f"{ARPA_FILE}.gz")
    model = read_arpa(path)
    if len(model.orders) != description.order:
        raise ValueError(
            f"{path}: expected order {description.order}, as {LM_DESCRIPTION_FILE} says, found "
            f"{len(model.orders)}; copy the folder anew"
        )
    try:
        table = NgramTable(model, tokenizer.pieces)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return NgramLanguageModel(table=table, tokenizer=tokenizer, description=description)


def read_description(folder: Path) -> dict[str, Any]:
    """The content of `lm.toml`, whatever the kind of the language model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no TOML, or `folder` is a file.
    """
    path = folder / LM_DESCRIPTION_FILE
    if folder.is_file():
        raise ValueError(
            f"expected a folder of a language model over token pieces, found the file {folder}; "
            "one over words can only decode"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a language model with {LM_DESCRIPTION_FILE} at {folder}, found "
            f"{'none' if folder.is_dir() else 'no folder'}; make one with `asr lm train`"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML, found: {error}; copy the folder anew") from None
