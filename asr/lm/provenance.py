"""Provenance of an n-gram model: digests of what it was estimated from, and the settings."""

import dataclasses
import hashlib
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic.dataclasses import dataclass

from asr.files import LM_DESCRIPTION_FILE, write_text
from asr.schema import STRICT, parse

_SIDECAR_SUFFIX = ".toml"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NgramProvenance:
    """What makes an n-gram model the one it is: the same of it give the same model."""

    type: Literal["ngram", "word-ngram"]
    """Over token pieces or over words."""
    order: int
    """Tokens or words in the longest n-grams."""
    texts_sha256: tuple[str, ...]
    """Digest of each text, hexadecimal, in their order."""
    min_counts: tuple[int, ...] | None = None
    """Occurrences that an n-gram of order 1, 2, ... needed to stay; none: all stay."""
    tokenizer_sha256: str | None = None
    """Digest of the tokenizer."""
    min_word_count: int | None = None
    """Occurrences that a word needed."""
    words_sha256: str | None = None
    """Digest of the text whose words are known too."""


def text_digest(path: Path) -> str:
    """SHA-256 of a text file, hexadecimal.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected text at {path}, found no file; check the path")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sidecar(arpa: Path) -> Path:
    """The file beside an ARPA file that holds its provenance, for which ARPA has no place."""
    return arpa.with_name(arpa.name + _SIDECAR_SUFFIX)


def read_provenance(model: Path) -> NgramProvenance | None:
    """Read what a language model was estimated from.

    Args:
        model: A folder of a model over token pieces, or an ARPA file over words.

    Returns:
        The provenance; None where there is no model, or one that does not say.

    Raises:
        ValueError: The file that says it is damaged.
    """
    if model.is_dir():
        path, key = model / LM_DESCRIPTION_FILE, "made_from"
    else:
        path, key = sidecar(model), None
    if not model.exists() or not path.is_file():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        found = table if key is None else table.get(key)
        return None if found is None else parse(NgramProvenance, found, where=key or "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the provenance of a language model, found: {error}; remove {model} "
            "and make it anew"
        ) from None


def write_sidecar(arpa: Path, provenance: NgramProvenance) -> None:
    """Write the provenance beside an ARPA file."""
    write_text(sidecar(arpa), tomli_w.dumps(as_table(provenance)))


def as_table(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the dataclasses of `lm.toml`
    """A dataclass as TOML has it: without what is None."""
    return _without_none(dataclasses.asdict(record))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
