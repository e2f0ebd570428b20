"""The recipe's own command line; tools/test.sh runs the recipe itself."""

import subprocess
from pathlib import Path

import pytest

from asr.config import load_config

_RECIPE = Path(__file__).parent.parent / "recipes" / "librispeech"


def _run(*args: str, script: str = "run.sh") -> subprocess.CompletedProcess[str]:
    command = ["bash", str(_RECIPE / script), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_option() -> None:
    result = _run("--help")
    assert result.returncode == 0
    for option in ("--corpus", "--data", "--exp", "--config", "--stage", "--lm-text"):
        assert option in result.stdout


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--corpsu", "mini"), 2, "expected an option, found --corpsu"),
        (("--corpus",), 2, "expected a value after --corpus"),
        (("--corpus", "huge"), 2, "expected --corpus synthetic, mini, 100h or 960h, found huge"),
        (("--lm-text", "x"), 1, "expected text at x, found no file"),
        (("--phones", "en-us"), 2, "expected --lm-text with --phones, found none"),
        (("--lm-unit", "tokens"), 2, "expected --lm-unit pieces or words, found tokens"),
        (("--config", "none.toml"), 1, "expected a config at none.toml"),
        (("--stage", "9"), 2, "expected --stage and --stop-stage from 1 to 8, found 9"),
        (("--stage", "four"), 2, "from 1 to 8, found four"),
        (("--stage", "5", "--stop-stage", "4"), 2, "expected --stage up to --stop-stage 4"),
        (("--stage", "7"), 2, "expected --lm-text with --stage 7, found none"),
        (("--test-splits", "validation"), 2, "expected no split named validation beside others"),
        (("--train-splits", "a,train"), 2, "expected no split named train beside others"),
    ],
)
def test_mistake_is_one_line(args: tuple[str, ...], status: int, message: str) -> None:
    result = _run(*args)
    assert result.returncode == status
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--seeds", "no"), 2, "expected a number of --seeds above 0, found no"),
        (("--variants", "none.txt"), 1, "expected variants at none.txt, found no file"),
    ],
)
def test_mistake_in_a_comparison_is_one_line(
    args: tuple[str, ...], status: int, message: str
) -> None:
    result = _run(*args, script="compare.sh")
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert result.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected --test, found none"),
        (("--test", "t", "--out", "o", "--beam-size", "8", "--nbest", "9"), "expected --nbest of"),
        (("--test", "t", "--out", "o", "--nbest", "x"), "expected a number of --nbest above 0"),
        (("--test", "t", "--out", "o", "--lexicon", "l"), "expected --words and no --ngram with"),
    ],
)
def test_wrong_usage_of_language_models_is_one_line(args: tuple[str, ...], message: str) -> None:
    files = ("--exp", "exp", "--tune", "dev.jsonl")
    result = _run(*files, *args, script="language_models.sh")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"error: {message}")


def test_every_addition_is_a_setting_of_the_configs() -> None:
    lines = (_RECIPE / "conf" / "additions.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert rows[0] == ["base"]
    assert len({row[0] for row in rows}) == len(rows)
    without = ["augmentation.speed_factors=[]", "augmentation.band_limit_probability=0"]
    for name in ("conformer_tiny", "conformer_mini"):
        path = _RECIPE / "conf" / f"{name}.toml"
        loaded = [
            load_config(
                path, [*without, *(word for word in row[1:] if "." in word and "=" in word)]
            )
            for row in rows
        ]
        plain = [row[0] for row, config in zip(rows, loaded, strict=True) if config == loaded[0]]
        assert plain == ["base", "pieces_32", "characters"]


def test_rows_override_what_is_common(tmp_path: Path) -> None:
    recipe = tmp_path / "recipes" / "librispeech"
    calls = tmp_path / "calls"
    for path in (recipe / "run.sh", tmp_path / "tools" / "setup.sh", tmp_path / ".venv/bin/python"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
        path.chmod(0o755)
    script = recipe / "compare.sh"
    script.write_bytes((_RECIPE / "compare.sh").read_bytes())
    variants = tmp_path / "variants.txt"
    variants.write_text("base\nbpe --vocab-size 32 training.epochs=2")
    command = ["bash", str(script), "--seeds", "1", "--variants", str(variants)]
    subprocess.run([*command, "--", "training.epochs=1"], check=True, timeout=60)
    setup, base, base_record, bpe, bpe_record, table = calls.read_text().splitlines()
    assert base.endswith("conformer_tiny.toml -- training.epochs=1 training.seed=1")
    assert "--config conformer_tiny training.epochs=1 --out" in base_record
    assert " --vocab-size 32 --exp " in bpe
    assert bpe.endswith("-- training.epochs=1 training.seed=1 training.epochs=2")
    assert "conformer_tiny training.epochs=1 --vocab-size 32 training.epochs=2 --out" in bpe_record
    assert (setup, table.split()[-3:]) == ("", ["--rows", "base", "bpe"])
