"""`asr pronounce`: phones of words, for recognisers that write phones."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest, write_manifest
from asr.files import write_text
from asr.lm.word_level import words_of_arpa
from asr.tokens.normaliser import normalise
from asr.tokens.pronunciation import pronounce as phones_of
from asr.tokens.tokenizer import Tokenizer


def pronounce(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A manifest (.jsonl), or an ARPA file over words."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Manifest or lexicon to write.")],
    voice: Annotated[str, typer.Option(help="Language of espeak-ng, such as de.")] = "en-us",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Tokenizer of phones, or a folder with one; with an ARPA file."),
    ] = None,
) -> None:
    """Write phones for words: a manifest of phones, or a lexicon.

    A recogniser that is trained on a manifest of phones writes phones; `asr
    decode --lm WORDS --lexicon LEXICON` finds the words of a language
    model in them. Phones are those of espeak-ng, in IPA (capital letters).
    """
    check_outputs([out], inputs=[source])
    if source.suffix == ".jsonl":
        if tokenizer is not None:
            raise typer.BadParameter("expected no --tokenizer with a manifest, found one")
        _pronounce_manifest(source, out, voice)
        return
    if tokenizer is None:
        raise typer.BadParameter(f"expected --tokenizer with {source}, found none")

    words = words_of_arpa(source)
    spelled = Tokenizer.load(tokenizer)
    phones = phones_of(words, voice=voice)
    lines = [
        " ".join([word, *(spelled.pieces[label - 1] for label in spelled.encode(spoken))])
        for word, spoken in phones.items()
        if not spelled.unknown_characters(spoken)
    ]
    if 2 * len(lines) < len(phones):
        raise ValueError(
            f"{tokenizer}: expected a tokenizer of phones, found one that can spell {len(lines)} "
            f"of {len(phones)} words; make it of a manifest that `asr pronounce` wrote"
        )
    write_text(out, "".join(line + "\n" for line in lines))
    print(f"{len(lines)} of {len(words)} words in {out}")


def _pronounce_manifest(source: Path, out: Path, voice: str) -> None:
    utterances = read_manifest(source)
    texts = [normalise(utterance.text or "").split() for utterance in utterances]
    phones = phones_of((word for words in texts for word in words), voice=voice)
    write_manifest(
        out,
        (
            replace(
                utterance,
                text=None
                if utterance.text is None
                else " ".join(phones[word] for word in words if word in phones),
            )
            for utterance, words in zip(utterances, texts, strict=True)
        ),
    )
    print(f"phones of {len(phones)} words in {out}, {len(utterances)} utterances")
