"""The recipe's own command line; tools/test.sh runs the recipe itself."""

import re
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from asr.config import load_config
from asr.data.manifest import read_manifest
from asr.tokens.tokenizer import Tokenizer
from tests.data.corpora.trees import common_voice_tree

_RECIPES = Path(__file__).parent.parent / "recipes"
_RECIPE = _RECIPES / "librispeech"
_RUN = "librispeech/run.sh"


def _run(*args: str, script: str = _RUN, recipes: Path = _RECIPES) -> CompletedProcess[str]:
    command = ["bash", str(recipes / script), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What the recipes below `tmp_path / "recipes"` run instead of programs, one call a line."""
    calls = tmp_path / "calls"
    (tmp_path / "recipes").symlink_to(_RECIPES)
    _program(tmp_path / "tools" / "setup.sh", f'echo setup "$@" >>{calls}')
    _program(
        tmp_path / ".venv/bin/asr",
        f'echo "$@" >>{calls}\n'
        'case $1 in decode) mkdir -p "$(dirname "$5")" ;; score) echo scored ;; esac',
    )
    return calls


def _accepted_options(script: Path) -> list[str]:
    """The list that a script gives to `read_options`, as bash expands it."""
    [names] = re.findall(r'^read_options "(.*)" "\$@"$', script.read_text(), re.MULTILINE)
    expand = f'source "$1"; printf %s "{names}"'
    command = ["bash", "-c", expand, "bash", str(_RECIPES / "common.sh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "script",
    [
        path.relative_to(_RECIPES).as_posix()
        for path in sorted(_RECIPES.rglob("*.sh"))
        if path.name != "common.sh"
    ],
)
def test_help_names_exactly_the_options_that_are_accepted(script: str) -> None:
    result = _run("--help", script=script)
    assert result.returncode == 0
    # A line may begin with several options: "  --train-splits, --dev-splits".
    begins = re.findall(r"^  (--[a-z-]+(?:, --[a-z-]+)*)", result.stdout, re.MULTILINE)
    described = [option.removeprefix("--") for begin in begins for option in begin.split(", ")]
    accepted = _accepted_options(_RECIPES / script)
    assert sorted(described) == sorted(accepted)
    assert len(set(accepted)) == len(accepted) > 5
    for option in accepted:
        assert f"expected a value after --{option};" in _run(f"--{option}", script=script).stderr


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--corpsu", "mini"), 2, "expected an option, found --corpsu"),
        (("mini",), 2, "expected an option, found mini"),
        (("--train_splits", "a"), 2, "expected an option, found --train_splits"),
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
    result = _run(*args, script="librispeech/compare.sh")
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
    result = _run(*files, *args, script="librispeech/language_models.sh")
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


def test_rows_override_what_is_common(tmp_path: Path, calls: Path) -> None:
    variants = tmp_path / "variants.txt"
    variants.write_text("base\nbpe --vocab-size 32 training.epochs=2")
    setup, base, base_record, bpe, bpe_record, table = _compared(
        tmp_path, calls, "--variants", str(variants), "--", "training.epochs=1"
    )
    assert base.endswith("conformer_tiny.toml -- training.epochs=1 training.seed=1")
    assert "--config conformer_tiny training.epochs=1 --out" in base_record
    assert " --vocab-size 32 --exp " in bpe
    assert bpe.endswith("-- training.epochs=1 training.seed=1 training.epochs=2")
    assert "conformer_tiny training.epochs=1 --vocab-size 32 training.epochs=2 --out" in bpe_record
    assert (setup, table.split()[-3:]) == ("setup", ["--rows", "base", "bpe"])


def test_rows_are_the_words_that_the_program_knows(tmp_path: Path, calls: Path) -> None:
    _program(tmp_path / ".venv/bin/asr", "printf 'full\\nnovel\\n'")
    *runs, table = _compared(tmp_path, calls)
    expected = [
        "conformer_tiny:full", "conformer_tiny:novel",
        "transformer_tiny:transformer_xl", "lite_transformer_tiny:transformer_xl",
    ]  # fmt: skip
    assert table.split()[-4:] == expected
    [novel] = [line for line in runs if "-novel-1 " in line and line.startswith("--corpus")]
    assert novel.endswith("conformer_tiny.toml -- training.seed=1 model.attention.kind=novel")


def _compared(tmp_path: Path, calls: Path, *args: str) -> list[str]:
    """The calls of a comparison of one seed, whose runs are calls too."""
    (tmp_path / "recipes").unlink()
    for name in ("common.sh", "librispeech/compare.sh"):
        (tmp_path / "recipes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "recipes" / name).write_bytes((_RECIPES / name).read_bytes())
    log = f'echo "$@" >>{calls}'
    _program(tmp_path / "recipes/librispeech/run.sh", log)
    _program(tmp_path / ".venv/bin/python", log)
    result = _run(
        "--seeds", "1", *args, script="librispeech/compare.sh", recipes=tmp_path / "recipes"
    )
    assert result.returncode == 0, result.stderr
    return calls.read_text().splitlines()


def test_stages_of_the_default_recipe(tmp_path: Path, calls: Path) -> None:
    exp = tmp_path / "exp"
    result = _run("--exp", f"{exp}/", "--", "training.epochs=1", recipes=tmp_path / "recipes")
    assert result.returncode == 0, result.stderr
    data, manifests = tmp_path / "data" / "synthetic", f"{exp}.data"
    splits = [f"synthetic-{name}" for name in ("train", "dev", "test")]
    decoded = f"{exp}/decoded/synthetic-test"
    assert calls.read_text().splitlines() == [
        "setup synthetic",
        f"prepare synthetic --root {data}",
        f"prepare librispeech --root {data} --splits {','.join(splits)} --out {manifests}",
        f"prepare join {manifests}/synthetic-train.jsonl --out {manifests}/train.jsonl",
        f"prepare join {manifests}/synthetic-dev.jsonl --out {manifests}/validation.jsonl",
        f"tokenize --manifest {manifests}/train.jsonl --vocab-size 64 --type unigram --out "
        f"{manifests}/tokenizer",
        f"train {tmp_path}/recipes/librispeech/conf/conformer_tiny.toml --out {exp} --set "
        f"data.train={manifests}/train.jsonl --set data.validation={manifests}/validation.jsonl "
        f"--set data.tokenizer={manifests}/tokenizer --set training.epochs=1",
        f"decode {exp} {manifests}/synthetic-test.jsonl --out {decoded}.jsonl --device cpu",
        f"score --ref {manifests}/synthetic-test.jsonl --hyp {decoded}.jsonl --json "
        f"{decoded}.score.json --html {decoded}.score.html",
    ]
    assert result.stdout.splitlines() == [
        "synthetic-test", "scored", f"report: {decoded}.score.txt, .json and .html",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "model", "search", "model_type"),
    [
        ((), "lm", "--beam-size 16", "ngram --tokenizer {0}/tokenizer --order 6"),
        (("--lm-unit", "words"), "words.arpa.gz", "", "word-ngram --order 3"),
    ],
)
def test_stages_with_a_language_model(
    *,
    tmp_path: Path,
    calls: Path,
    options: tuple[str, ...],
    model: str,
    search: str,
    model_type: str,
) -> None:
    exp, text = tmp_path / "exp", tmp_path / "text.txt"
    text.touch()
    arguments = ("--data", str(tmp_path), "--exp", str(exp), "--lm-text", str(text), *options)
    decoded, manifests = f"{exp}/decoded/lm", f"{exp}.data"
    (exp / "decoded" / "lm").mkdir(parents=True)
    (exp / "decoded" / "lm" / "weights.json").touch()
    last = _run(*arguments, "--stage", "8", recipes=tmp_path / "recipes")
    assert last.returncode == 0, last.stderr
    lm = f"{manifests}/{model}"
    train = (
        f"lm train --type {model_type.format(manifests)} --text {text} --text "
        f"{manifests}/train.jsonl --out {lm}"
    )
    fused = f"--lm {lm} {search}".rstrip()
    setup, *rest = calls.read_text().splitlines()
    assert setup.split() == ["setup", *(["lm"] if options else [])]
    test = f"{manifests}/synthetic-test.jsonl"
    weights = f"--weights {decoded}/weights.json"
    assert rest == [
        f"{train} --check",
        f"decode {exp} {test} --out {decoded}/synthetic-test.jsonl --device cpu {fused} {weights}",
        f"score --ref {test} --hyp {decoded}/synthetic-test.jsonl --against "
        f"{exp}/decoded/synthetic-test.jsonl --json {decoded}/synthetic-test.score.json --html "
        f"{decoded}/synthetic-test.score.html",
    ]
    calls.unlink()
    tuned = _run(*arguments, "--stage", "7", "--stop-stage", "7", recipes=tmp_path / "recipes")
    assert tuned.returncode == 0, tuned.stderr
    dev = f"{manifests}/validation.jsonl"
    decode = f"decode {exp} {dev} --out {decoded}/validation.jsonl --device cpu {fused} --nbest 16"
    tune = f"lm tune {decoded}/validation.jsonl --ref {dev} --json {decoded}/weights.json"
    assert calls.read_text().splitlines()[1:] == [
        f"{train} --reuse", decode, tune, f"{decode} {weights}", tune,
    ]  # fmt: skip
    without = _run(*arguments, "--stage", "8", recipes=tmp_path / "recipes")
    assert without.returncode == 1
    assert f"expected tuned weights at {decoded}/weights.json, found no file" in without.stderr


def test_phones_take_the_place_of_letters(tmp_path: Path, calls: Path) -> None:
    exp, text = tmp_path / "exp", tmp_path / "text.txt"
    text.touch()
    result = _run(
        "--data", str(tmp_path), "--exp", str(exp), "--lm-text", str(text), "--phones", "de",
        recipes=tmp_path / "recipes",
    )  # fmt: skip
    # The stub of `asr lm tune` writes no weights.
    assert "expected tuned weights" in result.stderr
    lines = calls.read_text().splitlines()
    assert lines[0] == "setup synthetic lm"
    units = f"{exp}.data/phones"
    for name in ("train", "validation"):
        assert f"pronounce {exp}.data/{name}.jsonl --voice de --out {units}/{name}.jsonl" in lines
    assert f"--set data.tokenizer={units}/tokenizer" in next(
        line for line in lines if line.startswith("train ")
    )
    assert (
        f"pronounce {exp}.data/words.arpa.gz --voice de --tokenizer {units}/tokenizer --out "
        f"{units}/lexicon.txt" in lines
    )
    decoded = [line for line in lines if line.startswith("decode ")]
    assert len(decoded) == 2
    assert all(f"--lexicon {units}/lexicon.txt" in line for line in decoded)


def test_language_models_are_added_and_tuned_in_turn(tmp_path: Path, calls: Path) -> None:
    python = tmp_path / ".venv/bin/python"
    _program(python, f'echo "$@" >>{calls}')
    log = f'echo "$@" >>{calls}'
    said = "printf 'as decoded\\nuse: --lm-weight 1\\nuse: another command\\n'"
    _program(tmp_path / ".venv/bin/asr", f'{log}\n[ "$2" != tune ] || {said}')
    out = tmp_path / "out"
    result = _run(
        "--exp", "E", "--tune", "dev.jsonl", "--test", "test.jsonl", "--out", str(out), "--ngram",
        "NGRAM", "--neural", "NEURAL", "--second", "SECOND", "--beam-size", "4",
        script="librispeech/language_models.sh", recipes=tmp_path / "recipes",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = calls.read_text().splitlines()
    fused = "--device cpu --nbest 4 --blank-penalty 0 --lm NGRAM --beam-size 4"
    assert lines[:9] == [
        f"decode E test.jsonl --out {out}/greedy.jsonl --device cpu",
        f"decode E test.jsonl --out {out}/beam.jsonl --device cpu --decoder beam --beam-size 4",
        f"decode E dev.jsonl --out {out}/tune.ngram.jsonl {fused}",
        f"lm tune {out}/tune.ngram.jsonl --ref dev.jsonl --json {out}/tune.ngram.json",
        f"decode E dev.jsonl --out {out}/tune.ngram.jsonl {fused} --weights {out}/tune.ngram.json",
        f"lm tune {out}/tune.ngram.jsonl --ref dev.jsonl --json {out}/tune.ngram.json",
        f"decode E test.jsonl --out {out}/ngram.jsonl {fused} --weights {out}/tune.ngram.json",
        f"rescore {out}/tune.ngram.jsonl --add neural=NEURAL --out {out}/tune.ngram-neural.jsonl "
        "--device cpu",
        f"lm tune {out}/tune.ngram-neural.jsonl --ref dev.jsonl --json "
        f"{out}/tune.ngram-neural.json",
    ]
    assert (
        f"rescore {out}/ngram.jsonl --add second=SECOND --audio test.jsonl --out "
        f"{out}/ngram-second.jsonl --device cpu --weights {out}/tune.ngram-second.json" in lines
    )
    systems = ("greedy", "beam", "ngram", "ngram-neural", "ngram-second")
    table = " ".join(f"{name}={out}/{name}.score.json" for name in systems)
    assert lines[-1] == f"-m tools.score_table {table}"
    assert result.stdout.splitlines() == [f"{name}: --lm-weight 1" for name in systems[2:]]


@pytest.mark.slow
def test_common_voice_from_a_folder_to_a_tokenizer(tmp_path: Path, calls: Path) -> None:
    _program(tmp_path / ".venv/bin/asr", f'exec {sys.executable} -m asr "$@"')
    tree = common_voice_tree(tmp_path / "in", clips=8)
    result = _run(
        "--data", str(tree.root / "cy"), "--exp", str(tmp_path / "exp"), "--token-type", "char",
        "--vocab-size", "16", "--stop-stage", "3",
        script="common_voice/run.sh", recipes=tmp_path / "recipes",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert calls.read_text().split() == ["setup"]
    manifests = tmp_path / "exp.data"
    for name in ("train", "dev", "test"):
        texts = {item.id: item.text for item in read_manifest(manifests / f"{name}.jsonl")}
        assert texts == tree.texts[name]
    assert read_manifest(manifests / "validation.jsonl") == read_manifest(manifests / "dev.jsonl")
    tokenizer = Tokenizer.load(manifests / "tokenizer")
    assert not tokenizer.unknown_characters("BORE DA 7")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((), 2, "expected --data with the folder of a language, found none"),
        (("--data", "x", "--corpus", "mini"), 2, "expected an option, found --corpus"),
        (("--data", "x", "--stage", "7"), 2, "expected --lm-text with --stage 7, found none"),
    ],
)
def test_mistake_with_common_voice_is_one_line(
    args: tuple[str, ...], status: int, message: str
) -> None:
    result = _run(*args, script="common_voice/run.sh")
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert result.stderr.startswith(f"error: {message}")


def test_recipes_hold_no_inline_python_and_one_option_loop() -> None:
    for path in sorted(_RECIPES.rglob("*.sh")):
        text = path.read_text(encoding="utf-8")
        assert "python -c" not in text.replace('python" -c', "python -c"), path
        assert ("while ((" in text) == (path.name == "common.sh"), path
