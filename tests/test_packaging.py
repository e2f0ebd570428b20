"""Attune as it is installed: what travels in the package, and work without the checkout."""

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

import asr
from asr.config import PACKAGED_CONFIGS, find_config, load_config

_ROOT = Path(__file__).parents[1]
_TINY = (
    "training.max_steps=3",
    "training.warmup_steps=2",
    "data.workers=0",
    "model.width=32",
    "model.layers=1",
    "model.heads=2",
    "model.intermediate_layers=[]",
    "model.intermediate_weight=0",
    "model.subsampling.channels=8",
)


def test_a_config_of_the_package_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("conformer_tiny") == load_config(PACKAGED_CONFIGS / "conformer_tiny.toml")
    assert find_config(Path("lm/transformer_small")).is_file()
    with pytest.raises(FileNotFoundError, match=r"found conformer_tinny; give one of these"):
        load_config("conformer_tinny")
    # With a suffix it is a file.
    with pytest.raises(FileNotFoundError, match=r"conformer_tiny\.toml"):
        load_config("conformer_tiny.toml")


def test_the_package_has_the_configs_of_the_recipe() -> None:
    recipe = _ROOT / "recipes" / "librispeech" / "conf"
    names = {path.relative_to(recipe) for path in recipe.rglob("*") if path.is_file()}
    assert Path("conformer_tiny.toml") in names
    assert names == {
        path.relative_to(PACKAGED_CONFIGS) for path in PACKAGED_CONFIGS.rglob("*") if path.is_file()
    }


def test_torchaudio_of_another_source_is_explained(tmp_path: Path) -> None:
    (tmp_path / "torchaudio").mkdir()
    broken = "raise OSError('libtorchaudio.so: undefined symbol: _ZN3c104cuda')"
    (tmp_path / "torchaudio" / "__init__.py").write_text(broken)
    path = os.pathsep.join([str(tmp_path), str(_ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", "import asr.features.frontend"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("OSError: expected torchaudio whose library loads beside torch ")
    assert "undefined symbol: _ZN3c104cuda; install torch and torchaudio from the same" in last


def test_every_dependency_has_an_exact_pin() -> None:
    pins = [
        line.split("==") for line in (_ROOT / "constraints.txt").read_text().split("\n") if line
    ]
    assert all(len(pin) == 2 for pin in pins)
    names = [_canonical(name) for name, _ in pins]
    assert names == list(dict.fromkeys(names))
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for requirement in (*project["dependencies"], *itertools.chain.from_iterable(extras)):
        name = _canonical(requirement.split("[")[0].split(">")[0].split("<")[0].split("=")[0])
        assert name == "attune-asr" or name in names, f"{requirement}: no pin in constraints.txt"


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def _checkout_files() -> set[str]:
    """The files of the package, by their place in a wheel."""
    folder = Path(asr.__file__).parent
    files = [*folder.rglob("*"), *(folder / "conf").rglob("*")]
    return {
        path.relative_to(folder.parent).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def _build(kind: str, source: Path, out: Path) -> Path:
    """Build a distribution as pip does, in a process of its own, without the network."""
    out.mkdir()
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=source, check=True, timeout=300, stdout=subprocess.DEVNULL)
    [built] = out.iterdir()
    return built


def _copy_checkout(target: Path) -> None:
    """What the build reads; it writes beside that, which a checkout should not see."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        target.mkdir(exist_ok=True)
        shutil.copy(_ROOT / name, target)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("asr", "recipes"):
        shutil.copytree(_ROOT / name, target / name, symlinks=True, ignore=ignore)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the source distribution, as somebody without the checkout makes it."""
    folder = tmp_path_factory.mktemp("build")
    _copy_checkout(folder / "checkout")
    source = _build("sdist", folder / "checkout", folder / "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    [unpacked] = folder.glob("attune_asr-*")
    return _build("wheel", unpacked, folder / "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment outside the checkout that holds the wheel, and sees the libraries of this one.

    Where an editable installation has put a finder, that is not seen: it is a `.pth` file, and
    those count in an environment's own folder alone.
    """
    folder = tmp_path_factory.mktemp("installed")
    _run([sys.executable, "-m", "venv", str(folder)], folder)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    _run([str(python), *install], folder)
    [own] = folder.glob("lib/python*/site-packages")
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def _run(command: Sequence[str], folder: Path) -> str:
    hidden = ("PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _overrides(settings: Iterable[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.slow
def test_the_wheel_holds_the_files_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == _checkout_files()
    # What code reads beside itself, by name: a file that moved is missed here.
    for name in (
        "asr/py.typed",
        "asr/claims/thresholds.toml",
        "asr/conf/conformer_tiny.toml",
        "asr/conf/lm/transformer_small.toml",
        "asr/data/corpora/synthetic/espeak_speech.py",
        "asr/scoring/html/template.html.j2",
    ):
        assert name in names


@pytest.mark.slow
def test_trains_decodes_and_scores_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = _run([str(installed / "python"), "-c", "import asr; print(asr.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    make = "from asr.data.corpora.synthetic.corpus import generate; from pathlib import Path; "
    make += "generate(Path('.'), train_seconds=30, dev_seconds=10, test_seconds=10, jobs=2)"
    _run([str(installed / "python"), "-c", make], tmp_path)
    command = str(installed / "asr")
    splits = "synthetic-train,synthetic-dev,synthetic-test"
    prepare = ["prepare", "librispeech", "--root", ".", "--splits", splits, "--out", "data"]
    _run([command, *prepare], tmp_path)
    tokenize = ["--manifest", "data/synthetic-train.jsonl", "--type", "char", "--out", "tok"]
    _run([command, "tokenize", *tokenize], tmp_path)
    data = (
        "data.train=data/synthetic-train.jsonl",
        "data.validation=data/synthetic-dev.jsonl",
        "data.tokenizer=tok",
    )
    train = [command, "train", "conformer_tiny", "--out", "exp"]
    _run([*train, *_overrides((*data, *_TINY))], tmp_path)
    test = "data/synthetic-test.jsonl"
    _run([command, "decode", "exp", test, "--out", "hyp.jsonl"], tmp_path)
    score = [command, "score", "--ref", test, "--hyp", "hyp.jsonl", "--html", "report.html"]
    assert "WER" in _run(score, tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 1000
