"""Names that the documents of 0.1.0 import, and the package's own names."""

import importlib
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import asr
import asr.ctc
import asr.model
from asr.config import load_config


@pytest.mark.parametrize("name", ["build_model", "CtcModel", "CtcOutput"])
def test_former_name_gives_the_same_object_and_warns(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"asr\.model\.{name} is deprecated .*; use asr\."):
        found = getattr(asr.model, name)
    assert found is getattr(asr.ctc, name)


def test_former_name_in_an_import_warns_where_it_stands() -> None:
    with pytest.warns(DeprecationWarning, match="use asr.build_model") as caught:
        exec("from asr.model import build_model", {})
    assert "<string>" in {warning.filename for warning in caught}


def test_a_name_that_never_was() -> None:
    with pytest.raises(AttributeError, match=r"module 'asr\.model' has no attribute 'magic'"):
        asr.model.magic  # noqa: B018
    with pytest.raises(AttributeError, match="module 'asr' has no attribute 'magic'"):
        asr.magic  # noqa: B018


def test_build_model_of_a_config(tiny_experiment: Path) -> None:
    config = load_config(tiny_experiment / "config.toml")
    model = asr.build_model(config.model, vocab_size=7)
    assert model.head.projection.out_features == 8


def test_version_is_the_distributions() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert asr.__version__ == version(project["name"])


def test_version_of_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", absent)
        assert importlib.reload(asr).__version__ == "0+not-installed"
    importlib.reload(asr)
