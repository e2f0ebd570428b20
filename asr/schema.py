"""The one set of rules that every config section follows, and the messages when one is broken."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

# A section is `@dataclass(frozen=True, kw_only=True, config=STRICT)` from pydantic.dataclasses:
# unknown keys are errors, values are checked at construction, infinities and NaN are refused.
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

Section = TypeVar("Section")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a config file.

    Args:
        path: TOML in UTF-8.

    Returns:
        Its tables.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a config at {path}, found no file; give a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML, found: {error}") from None


def parse(cls: type[Section], section: Mapping[str, Any], *, where: str) -> Section:
    """Read a section.

    Args:
        cls: Its config class.
        section: Keys and values as TOML gives them.
        where: The section's name, for messages; empty for the whole file.

    Returns:
        The checked section.

    Raises:
        ValueError: One line that names every key that is unknown, missing or wrong.
    """
    try:
        checked = TypeAdapter(cls).validate_python(dict(section))
    except ValidationError as error:
        lines = (_describe(detail, cls, where) for detail in error.errors())
        raise ValueError("; ".join(lines)) from None
    return checked


def parse_choice(
    section: object, *, key: str, classes: Mapping[str, type[Section]], where: str
) -> Section:
    """Read a section whose class is named by one of its own keys.

    Args:
        section: The table, or an instance of one of the classes.
        key: The key that holds the word, such as "kind".
        classes: Config class of each word.
        where: The section's name, for messages.

    Returns:
        The section as an instance of its class.

    Raises:
        ValueError: The word is missing or unknown, or a setting is wrong.
    """
    for cls in classes.values():
        if isinstance(section, cls):
            return section
    if not isinstance(section, Mapping) or key not in section:
        raise ValueError(f"{where}.{key}: expected one of {sorted(classes)}, found nothing")
    word = section[key]
    if word not in classes:
        raise ValueError(
            f"{where}.{key}: expected one of {sorted(classes)}, found {word!r}"
            f"{nearest(str(word), classes)}"
        )
    return parse(classes[word], section, where=where)


def is_optional_section(cls: type, path: Sequence[str]) -> bool:
    """Whether a section lies at `path` inside the config class `cls` that may be left out."""
    for key in path[:-1]:
        fields = getattr(cls, "__pydantic_fields__", {})
        if key not in fields:
            return False
        annotation = fields[key].annotation
        sections = [c for c in (annotation, *get_args(annotation)) if _is_section(c)]
        if not sections:
            return False
        cls = sections[0]
    fields = getattr(cls, "__pydantic_fields__", {})
    if path[-1] not in fields:
        return False
    members = get_args(fields[path[-1]].annotation)
    return type(None) in members and any(_is_section(member) for member in members)


def _is_section(candidate: object) -> bool:
    return hasattr(candidate, "__pydantic_fields__")


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the known word nearest to a wrong one; empty if none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _describe(detail: ErrorDetails, cls: type, where: str) -> str:
    path = [str(part) for part in detail["loc"]]
    name = ".".join([where, *path] if where else path)
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = sorted(_keys_at(cls, path[:-1]))
        hint = nearest(path[-1], known)
        return f"{name}: expected a known key, found {path[-1]!r}{hint} (known: {', '.join(known)})"
    if detail["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{name}: expected a value, found none; add the key"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        # A section inside this one has described itself already.
        return message if message.startswith(name) or not name else f"{name}: {message}"
    return f"{name}: {detail['msg'][:1].lower()}{detail['msg'][1:]}, found {detail['input']!r}"


def _keys_at(cls: type, path: list[str]) -> set[str]:
    """Keys of the section that lies at `path` inside the config class `cls`."""
    fields = getattr(cls, "__pydantic_fields__", {})
    if not path:
        return set(fields)
    if path[0] not in fields:
        return set()
    annotation = fields[path[0]].annotation
    for candidate in (annotation, *get_args(annotation)):
        if hasattr(candidate, "__pydantic_fields__"):
            return _keys_at(candidate, path[1:])
    return set()
