"""Commands and Python of the documents, run in order in a folder that holds what they name.

What takes long runs in a short setting, which `_SHORT` names; what cannot run at all stands with
its reason in tests/test_documents.py.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import read_manifest

_ROOT = Path(__file__).parents[1]
_DATA = _ROOT / "tests" / "compat" / "data"
_TRAINING = (
    "--set training.epochs=0 --set training.max_steps=2 --set training.warmup_steps=1 "
    "--set training.memory_probe=false"
)
# Twenty short utterances stand for a corpus: fewer pieces, fewer steps, smaller models.
_SHORT = {
    "--vocab-size 256": "--vocab-size 14",
    "--vocab-size 80": "--vocab-size 14",
    "asr train recipes/": f"asr train {_TRAINING} --set data.workers=0 --set model.layers=4 "
    "recipes/",
    "asr lm train --type transformer": f"asr lm train {_TRAINING} --set data.batch_tokens=512 "
    "--set data.segment_tokens=64 --type transformer",
    "--step 100": "--step 1",
    "EXP": "exp/mine",
    " test.jsonl": " data/mine/test.jsonl",
}
# Set-up, recipes and placeholders, which other tests run or which cannot run.
_NOT_HERE = re.compile(r"^(\./)?(recipes|tools)/|^(source|pip) |^for | DIR\b")


def _blocks(document: str, language: str) -> Iterator[str]:
    text = (_ROOT / document).read_text(encoding="utf-8")
    for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        yield textwrap.dedent(block)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the recordings, manifests, texts and experiments that the documents name."""
    (tmp_path / "recipes").symlink_to(_ROOT / "recipes")
    for folder in ("recordings", "my_audio", "held_out", "data/mine", "exp", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"u{number:02d}" for number in range(24)]
    texts = {
        utterance.id: utterance.text or ""
        for split in ("train", "dev")
        for utterance in read_manifest(_DATA / f"{split}.jsonl")
    }
    for number, name in enumerate(names):
        spoken = tmp_path / ("my_audio" if number < 20 else "held_out")
        samples, rate_hz = soundfile.read(_DATA / f"{name}.flac")
        soundfile.write(spoken / f"{name}.wav", samples, rate_hz)
        (spoken / f"{name}.txt").write_text(texts[name])
        if number < 2:
            shutil.copy(_DATA / f"{name}.flac", tmp_path / "recordings")
    samples, rate_hz = soundfile.read(_DATA / "u00.flac")
    soundfile.write(tmp_path / "talk.mp3", np.tile(samples, 4), rate_hz, format="MP3")
    rows = [f"my_audio/{name}.wav,{texts[name]}" for name in names[:20]]
    (tmp_path / "my.csv").write_text("\n".join(["path,text", *rows]) + "\n")
    for split, source in (("train", "train"), ("dev", "dev"), ("test", "dev")):
        manifest = (_DATA / f"{source}.jsonl").read_text()
        manifest = manifest.replace('"audio_filepath": "', f'"audio_filepath": "{_DATA}/')
        (tmp_path / "data/mine" / f"{split}.jsonl").write_text(manifest)
    sentences = (_DATA / "text.txt").read_text()
    with gzip.open(tmp_path / "books.txt.gz", "wt") as stream:
        stream.write(sentences * 40)
    (tmp_path / "held_out.txt").write_text(sentences * 20)
    (tmp_path / "lm").mkdir()
    for name in ("mine", "other", "synthetic-conformer_tiny"):
        shutil.copytree(_DATA / "finished", tmp_path / "exp" / name)
    asr = tmp_path / "bin" / "asr"
    asr.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asr "$@"\n')
    asr.chmod(0o755)
    return tmp_path


def _run(home: Path, block: str) -> None:
    """Run the commands of a block of bash."""
    lines = block.replace("\\\n", " ").splitlines()
    script = "\n".join(line for line in lines if not _NOT_HERE.search(line))
    for text, short in _SHORT.items():
        script = script.replace(text, short)
    path = (
        f"{home / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{script}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    ["README.md", "docs/own_data.md", "docs/decoding.md", "docs/streaming.md", "docs/attention.md"],
)
def test_commands_run(document: str, home: Path) -> None:
    if document == "docs/own_data.md":
        # It trains this one itself.
        shutil.rmtree(home / "exp" / "mine")
    blocks = [block for block in _blocks(document, "bash") if "asr " in block]
    assert blocks or document == "docs/attention.md"
    for block in blocks:
        _run(home, block)


@pytest.mark.slow
def test_commands_of_language_models_run(home: Path) -> None:
    pytest.importorskip("flashlight.lib.text", reason="the extra `lm` is not installed")
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    for block in _blocks("docs/language_models.md", "bash"):
        if "exp/phones" in block:
            pronounce, tokenize, *rest = block.splitlines()
            _run(home, f"{pronounce}\n{tokenize}")
            data = "--set data.train=phones/train.jsonl --set data.validation=phones/train.jsonl"
            _run(
                home,
                "asr train recipes/librispeech/conf/conformer_tiny.toml --out exp/phones "
                f"{data} --set data.tokenizer=phones/tokenizer",
            )
            block = "\n".join(rest)  # noqa: PLW2901
        _run(home, block)


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/python.md", "docs/streaming.md"])
def test_python_runs(document: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    samples, _ = soundfile.read(_DATA / "u00.flac", dtype="float32")
    blocks = list(_blocks(document, "python"))
    assert blocks
    for block in blocks:
        exec(compile(block, document, "exec"), {"microphone": lambda: [samples, samples]})
