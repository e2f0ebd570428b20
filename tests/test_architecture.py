"""The design's rules that a program can check."""

import ast
from pathlib import Path

import pytest

import asr

_ROOT = Path(asr.__file__).parent
_FILES = sorted(_ROOT.rglob("*.py"))
# A module may import from its own layer and the layers before it.
_LAYERS = (
    ("asr.schema", "asr.lengths", "asr.files", "asr.devices", "asr.former_names"),
    ("asr.tokens",),
    ("asr.data",),
    ("asr.features",),
    ("asr.model",),
    ("asr.lm",),
    ("asr.transcripts",),
    ("asr.ctc",),
    ("asr.scoring",),
    ("asr.inference",),
    # Every section lives with its part; this one holds nothing but the section.
    ("asr.training.config",),
    ("asr.config",),
    ("asr.decoders", "asr.recognizer"),
    ("asr.training",),
    ("asr.claims",),
    ("asr.export",),
    ("asr.cli", "asr.__main__"),
)


def _module(path: Path) -> str:
    parts = path.relative_to(_ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _layer(module: str) -> int | None:
    for rank, names in enumerate(_LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return rank
    return None


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", _FILES, ids=_module)
def test_imports_flow_one_way(path: Path) -> None:
    own = _layer(_module(path))
    if own is None:
        assert _module(path) == "asr"
        return
    for name in _imports(path):
        layer = _layer(name)
        assert layer is None or layer <= own, f"{_module(path)} imports {name}, a later layer"


@pytest.mark.parametrize(
    ("library", "home"),
    [("lightning", "asr.training"), ("jiwer", "asr.scoring"), ("typer", "asr.cli")],
)
def test_library_lives_in_one_place(library: str, home: str) -> None:
    for path in _FILES:
        if any(name.split(".")[0] == library for name in _imports(path)):
            assert _module(path).startswith(home), f"{_module(path)} imports {library}"
