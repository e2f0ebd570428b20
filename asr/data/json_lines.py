"""JSON lines: one object a line, whose fields are of the expected types."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_REQUIRED = object()


class JsonLinesError(ValueError):
    """A line that cannot be used; the message is one line and names the file and the line."""


def json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a file.

    Args:
        path: JSON lines in UTF-8; empty lines are passed over.

    Yields:
        The place, `path:line`, for messages, and the object.

    Raises:
        JsonLinesError: A line is no JSON object.
    """
    # Bytes, so that a line in another encoding is named too.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise JsonLinesError(
                    f"{where}: expected one JSON object a line in UTF-8, found: {error}; "
                    "correct or remove the line"
                ) from None
            if not isinstance(record, dict):
                raise JsonLinesError(
                    f"{where}: expected a JSON object, found {type(record).__name__}; "
                    "correct or remove the line"
                )
            yield where, record


def json_field(
    record: dict[str, Any],
    name: str,
    types: tuple[type, ...],
    *,
    where: str,
    default: object = _REQUIRED,
) -> Any:  # noqa: ANN401 - the type is one of `types`, checked here
    """A field of an object.

    Args:
        record: The object.
        name: Key of the field.
        types: What its value may be; a boolean is no number, a number is finite, and text can be
            written again.
        where: Place of the object, for messages.
        default: What an absent field means; without one the field is required.

    Returns:
        The value, or the default.

    Raises:
        JsonLinesError: The field is missing or of another type.
    """
    value = record.get(name, default)
    if value is default and default is not _REQUIRED:
        return default
    if (
        not isinstance(value, types)
        or isinstance(value, bool)
        or (isinstance(value, float) and not math.isfinite(value))
        or (isinstance(value, str) and not is_unicode(value))
    ):
        names = " or ".join(kind.__name__ for kind in types)
        found = repr(value) if name in record else f"only {sorted(record)}"
        raise JsonLinesError(
            f"{where}: expected the field {name!r} of type {names}, found {found}; "
            "correct or remove the line"
        )
    return value


def is_unicode(text: str) -> bool:
    """Whether a file can hold the text: halves of UTF-16 pairs are none.

    They come of JSON's escapes, and of names of files that are not in UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
