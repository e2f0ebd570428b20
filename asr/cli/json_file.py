"""Figures as JSON files."""

from pathlib import Path


def write_json(path: Path, text: str) -> None:
    """Write JSON text in one go, in a folder that is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
