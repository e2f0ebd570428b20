"""The design's rules about imports, each with a package that breaks it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import asr

# A module may import from its own layer and the layers before it. The longest name decides.
_LAYERS = (
    (
        "asr.schema",
        "asr.lengths",
        "asr.files",
        "asr.devices",
        "asr.audio_library",
        "asr.former_names",
    ),
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
    ("asr.cli", "asr.__main__"),
)
# What is used through the names of its `__init__` alone, from outside.
_CLOSED = ("asr.ctc",)
_HOMES = {
    "lightning": "asr.training",
    "jiwer": "asr.scoring",
    "typer": "asr.cli",
    "torchaudio": "asr.audio_library",
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name.

    Args:
        module: Where the statement stands.
        target: The module that is imported from, by its full name.
        name: The name taken from it; None for `import target`.
        at_import: Whether the statement runs when `module` is imported.
        old_name: Whether it serves a name that moved away: it stands in the module's `__getattr__`.
    """

    module: str
    target: str
    name: str | None
    at_import: bool
    old_name: bool


@dataclass(frozen=True)
class Package:
    """A package's modules by name, and what they import."""

    modules: frozenset[str]
    imports: tuple[Import, ...]

    @classmethod
    def read(cls, root: Path) -> "Package":
        """Read the package in the folder `root`."""
        trees = {_module(path, root): path for path in sorted(root.rglob("*.py"))}
        imports = [
            found
            for module, path in trees.items()
            for found in _imports(module, ast.parse(path.read_text(encoding="utf-8")))
        ]
        return cls(frozenset(trees), tuple(imports))

    def resolve(self, found: Import) -> str | None:
        """The package's own module that an import runs; None for one of another package."""
        full = f"{found.target}.{found.name}"
        if found.name is not None and full in self.modules:
            return full
        return found.target if found.target in self.modules else None


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(module: str, tree: ast.Module) -> Iterator[Import]:
    # (node, runs at import, within the module's `__getattr__`)
    rest: list[tuple[ast.AST, bool, bool]] = [(node, True, False) for node in tree.body]
    while rest:
        node, at_import, old_name = rest.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(
                    module=module,
                    target=alias.name,
                    name=None,
                    at_import=at_import,
                    old_name=old_name,
                )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                yield Import(
                    module=module,
                    target=str(node.module),
                    name=alias.name,
                    at_import=at_import,
                    old_name=old_name,
                )
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        serves_old = old_name or (node in tree.body and getattr(node, "name", "") == "__getattr__")
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            unused = typing_only and child in getattr(node, "body", [])
            rest.append((child, at_import and not later and not unused, serves_old))


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _layer(module: str, layers: tuple[tuple[str, ...], ...]) -> int | None:
    ranks = {name: rank for rank, names in enumerate(layers) for name in names}
    fitting = [name for name in ranks if _within(module, name)]
    return ranks[max(fitting, key=len)] if fitting else None


def imports_back_up(package: Package, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    """Modules without a layer, and imports of a later layer, wherever they stand."""
    top = min(package.modules, key=len)
    found = [
        f"{module} is in no layer"
        for module in sorted(package.modules - {top})
        if _layer(module, layers) is None
    ]
    for each in package.imports:
        target = package.resolve(each)
        if target is None or each.old_name or each.module == top:
            continue
        own, theirs = _layer(each.module, layers), _layer(target, layers)
        if own is not None and theirs is not None and theirs > own:
            found.append(f"{each.module} imports {target}, a later layer")
    return found


def circles(package: Package) -> list[list[str]]:
    """Sets of modules that need one another to be imported (strongly connected components)."""
    needs: dict[str, set[str]] = {module: set() for module in package.modules}
    for each in package.imports:
        target = package.resolve(each) if each.at_import else None
        # A package's `__init__` runs before its modules; that of one's own package already does.
        while target is not None:
            parent = target.rpartition(".")[0]
            if target != each.module:
                needs[each.module].add(target)
            target = parent if parent and not _within(each.module, parent) else None
    # What a module needs, over all steps; the graph has some hundred modules.
    reached = {module: _reached(module, needs) for module in needs}
    found = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in needs
        if module in reached[module]
    }
    return [list(circle) for circle in sorted(found)]


def _reached(module: str, needs: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    rest = list(needs[module])
    while rest:
        one = rest.pop()
        if one not in found:
            found.add(one)
            rest.extend(needs[one])
    return found


def opened(package: Package, closed: str) -> list[str]:
    """Imports that reach past the names of the `__init__` of `closed` from outside."""
    return [
        f"{each.module} imports {target}"
        for each in package.imports
        if (target := package.resolve(each)) is not None
        and _within(target, closed)
        and target != closed
        and not _within(each.module, closed)
        and not each.old_name
    ]


def strangers(package: Package, library: str, home: str) -> list[str]:
    """Imports of a library outside its home."""
    return [
        f"{each.module} imports {each.target}"
        for each in package.imports
        if _within(each.target, library) and not _within(each.module, home)
    ]


@pytest.fixture(scope="module")
def attune() -> Package:
    return Package.read(Path(asr.__file__).parent)


def test_imports_flow_one_way(attune: Package) -> None:
    assert imports_back_up(attune, _LAYERS) == []


def test_there_is_no_circle(attune: Package) -> None:
    assert circles(attune) == []


@pytest.mark.parametrize("closed", _CLOSED)
def test_a_closed_package_is_used_through_its_names(attune: Package, closed: str) -> None:
    assert opened(attune, closed) == []


@pytest.mark.parametrize(("library", "home"), _HOMES.items())
def test_a_library_lives_in_one_place(attune: Package, library: str, home: str) -> None:
    assert any(_within(each.target, library) for each in attune.imports)
    assert strangers(attune, library, home) == []


def test_every_layer_exists(attune: Package) -> None:
    assert [name for names in _LAYERS for name in names if name not in attune.modules] == []


def _package(folder: Path, **files: str) -> Package:
    """A package `house` of files given by their names, two underscores for a folder."""
    root = folder / "house"
    for name, text in {"__init__": "", **files}.items():
        parts = name.split("__") if not name.startswith("__") else [name]
        path = root.joinpath(*parts[:-1], f"{parts[-1] or '__init__'}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Package.read(root)


_HOUSE = (("house.low",), ("house.high",))


@pytest.mark.parametrize(
    "text",
    [
        "import house.high",
        "from house import high",
        "from house.high import anything",
        "def later():\n    from house.high import anything",
        "if TYPE_CHECKING:\n    from house.high import anything",
        "class Low:\n    def __getattr__(self, name):\n        from house.high import anything",
    ],
)
def test_an_import_back_up_is_found(tmp_path: Path, text: str) -> None:
    found = imports_back_up(_package(tmp_path, low=text, high=""), _HOUSE)
    assert found == ["house.low imports house.high, a later layer"]


def test_a_name_that_moved_up_may_be_served_from_its_old_place(tmp_path: Path) -> None:
    old = "def __getattr__(name):\n    from house.high import anything\n    return anything"
    package = _package(tmp_path, low=old, high="import house.low")
    assert imports_back_up(package, _HOUSE) == []
    assert circles(package) == []


def test_a_module_without_a_layer_is_found(tmp_path: Path) -> None:
    package = _package(tmp_path, low="", high="", lower="")
    assert imports_back_up(package, _HOUSE) == ["house.lower is in no layer"]


def test_the_longest_name_decides_the_layer(tmp_path: Path) -> None:
    package = _package(tmp_path, low="from house.high.part import x", high__="", high__part="")
    assert imports_back_up(package, (("house.high.part",), *_HOUSE)) == []
    assert imports_back_up(package, _HOUSE) != []


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a": "import house.b", "b": "from house.a import x"}, ["house.a", "house.b"]),
        (
            {"a": "from house import b", "b": "from house import c", "c": "import house.a"},
            ["house.a", "house.b", "house.c"],
        ),
        (
            {"p__": "from house.p.a import x", "p__a": "from house.p import y"},
            ["house.p", "house.p.a"],
        ),
        # By way of an `__init__` that nobody names: it runs before `house.p.b`.
        (
            {
                "p__": "import house.p.a",
                "p__a": "import house.q",
                "p__b": "",
                "q": "import house.p.b",
            },
            ["house.p", "house.p.a", "house.q"],
        ),
    ],
)
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str], circle: list[str]) -> None:
    assert circles(_package(tmp_path, **files)) == [circle]


@pytest.mark.parametrize(
    "text",
    [
        "def later():\n    import house.a",
        "if TYPE_CHECKING:\n    import house.a",
    ],
)
def test_what_does_not_run_at_import_makes_no_circle(tmp_path: Path, text: str) -> None:
    assert circles(_package(tmp_path, a="import house.b", b=text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from house.closed.part import x",
        "from house.closed import part",
        "import house.closed.part",
        "def later():\n    from house.closed.part import x",
    ],
)
def test_reaching_into_a_closed_package_is_found(tmp_path: Path, text: str) -> None:
    inside = {"closed__": "from house.closed.part import x as x", "closed__part": ""}
    package = _package(tmp_path, user=text, **inside)
    assert opened(package, "house.closed") == ["house.user imports house.closed.part"]
    polite = _package(tmp_path, user="from house.closed import x", **inside)
    assert opened(polite, "house.closed") == []


def test_a_library_outside_its_home_is_found(tmp_path: Path) -> None:
    package = _package(
        tmp_path, home="import jiwer", other="def f():\n    from jiwer.process import x"
    )
    assert strangers(package, "jiwer", "house.home") == ["house.other imports jiwer.process"]
    # `homely` is not within `home`.
    package = _package(tmp_path, home="", homely="import jiwer", other="")
    assert strangers(package, "jiwer", "house.home") == ["house.homely imports jiwer"]
