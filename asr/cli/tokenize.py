"""`asr tokenize`: a tokenizer trained on transcripts."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from asr.data.manifest import read_manifest
from asr.files import TOKENIZER_FILE
from asr.tokens.tokenizer import TokenizerKind, train_tokenizer

logger = logging.getLogger(__name__)


def tokenize(
    manifest: Annotated[
        list[Path], typer.Option(help="Manifest with transcripts; repeat it for several.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, with tokenizer.model in it.")],
    vocab_size: Annotated[
        int | None,
        typer.Option(min=1, help="Number of pieces, the unknown piece included; char needs none."),
    ] = None,
    kind: Annotated[TokenizerKind, typer.Option("--type", help="Kind of the pieces.")] = "unigram",
) -> None:
    """Train a tokenizer: which pieces of words a recogniser writes."""
    if vocab_size is None and kind != "char":
        raise typer.BadParameter(f"expected --vocab-size with --type {kind}, found none")
    utterances = [utterance for path in manifest for utterance in read_manifest(path)]
    texts = [utterance.text for utterance in utterances if utterance.text is not None]
    if len(texts) < len(utterances):
        logger.warning(
            "%d of %d utterances have no transcript", len(utterances) - len(texts), len(utterances)
        )
    tokenizer = train_tokenizer(texts, vocab_size=vocab_size, kind=kind)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out)
    print(f"{tokenizer.vocab_size} pieces in {out / TOKENIZER_FILE}")
