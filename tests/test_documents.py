"""Commands in documents: each is one that exists, with options that exist.

They stand in fenced blocks of bash, whole, and in the running text, where they may be cut short.
"""

import functools
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from asr.cli import app

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "recipes/**/*.md")
    for path in _ROOT.glob(pattern)
    # What changed may name what is gone.
    if path.name not in ("CHANGELOG.md", "log.md")
)
# Why a command cannot run in a test; the longest beginning of a command counts. What is on neither
# list fails: a new kind of command needs a test that runs it, or a reason.
_CANNOT_RUN = {
    "recipes/librispeech/run.sh --corpus mini": "downloads 0.5 GB",
    "recipes/librispeech/run.sh --corpus 100h": "downloads 6 GB",
    "recipes/librispeech/compare.sh": "hours on two cores",
    "recipes/librispeech/language_models.sh": "needs trained recognisers and a corpus of text",
    "tools/setup.sh": "installs packages from the network",
    "python -m tools.bench_step": "measures speed, alone on the machine",
}
# Where these run: a test or a script that names what it runs.
_RUN_BY = {
    "asr align": "tests/cli/test_cli_align.py",
    "asr attention": "tests/cli/test_cli_attention.py",
    "asr claims": "tests/claims/test_claims.py",
    "asr decode": "tests/cli/test_cli_decode.py",
    "asr lm": "tests/cli/test_cli_lm.py",
    "asr prepare": "tests/cli/test_cli_prepare.py",
    "asr pronounce": "tests/cli/test_cli_pronounce.py",
    "asr rescore": "tests/cli/test_cli_rescore.py",
    "asr score": "tests/cli/test_cli_score.py",
    "asr tokenize": "tests/cli/test_cli_tokenize.py",
    "asr train": "tests/compat/test_0_1_0.py",
    "python -m tools.bench_length": "tests/test_bench_length.py",
    "python -m tools.bench_peers": "tests/test_bench_peers.py",
    "python -m tools.bench_streaming": "tests/test_bench_streaming.py",
    "python -m tools.check_alignment": "tests/test_check_alignment.py",
    "python -m tools.compare_results": "tests/test_compare_results.py",
    "recipes/librispeech/run.sh": "tools/test.sh",
    "tools/test.sh": ".ci/run",
}


@dataclass(frozen=True)
class Command:
    """A command in a document: its words, and whether it may be cut short."""

    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return " ".join(self.words)


def _commands(text: str) -> Iterator[Command]:
    """The commands of this project in a document."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for language, block in blocks:
        if language in ("bash", "sh", "shell"):
            for line in block.replace("\\\n", " ").splitlines():
                # A command in a comment is one that somebody may copy.
                for words in _split(re.sub(r"^#\s+(?=asr |\S+\.sh\b)", "", line.strip())):
                    yield Command(words, whole=True)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        for words in _split(" ".join(span.split())):
            yield Command(words, whole=False)


def _split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of this project in a line of bash, without assignments and redirections."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        # An apostrophe in prose; a block of bash has none alone.
        return
    command: list[str] = []
    for word in (*words, ";"):
        if not re.fullmatch(r"[;&|()]+", word):
            command.append(word)
            continue
        while command and (re.match(r"\w+=", command[0]) or command[0] in ("do", "then", "else")):
            del command[0]
        if ">" in command:
            del command[command.index(">") : command.index(">") + 2]
        if command and (command[0] == "asr" or re.search(r"(recipes|tools)/.*\.sh$", command[0])):
            yield (command[0].removeprefix("./"), *command[1:])
        elif re.match(r"\S*python3? -m (asr|tools)\.", " ".join(command)):
            yield tuple(command)
        command = []


def _complaint(command: Command) -> str | None:
    """What is wrong with a command; None where it is right."""
    first, *rest = command.words
    if first == "asr":
        return _asr_complaint(rest, whole=command.whole)
    if first.startswith("python"):
        return _module_complaint(rest[1], rest[2:])
    if not (_ROOT / first).is_file():
        return f"there is no {first}"
    if first == "tools/setup.sh":
        unknown = [extra for extra in rest if extra not in _extras()]
        return f"there is no extra {unknown[0]}" if unknown else None
    if not first.startswith("recipes/"):
        # These take no options of their own; pytest reads those of tools/test.sh.
        return None
    known = "--help " + _script_help(first)
    own = rest[: rest.index("--")] if "--" in rest else rest
    unknown = [word for word in own if word.startswith("--") and not _has_flag(known, word)]
    return f"{first} has no {unknown[0]}" if unknown else None


def _has_flag(text: str, word: str) -> bool:
    return re.search(rf"{re.escape(word.partition('=')[0])}(?![\w-])", text) is not None


def _module_complaint(module: str, words: list[str]) -> str | None:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return f"there is no module {module}"
    source = Path(spec.origin).read_text()
    unknown = [word for word in words if word.startswith("--") and not _has_flag(source, word)]
    return f"{module} has no {unknown[0]}" if unknown else None


def _asr_complaint(words: list[str], *, whole: bool) -> str | None:
    command = typer.main.get_command(app)
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    if whole and not isinstance(command, TyperGroup):
        try:
            command.make_context("asr", rest)
        except typer.TyperException as error:
            return str(error)
        return None
    known = {name for each in command.params for name in each.opts} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word not in known]
    return f"there is no option {unknown[0]}" if unknown else None


@functools.cache
def _script_help(script: str) -> str:
    command = ["bash", str(_ROOT / script), "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@functools.cache
def _extras() -> frozenset[str]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    return frozenset(project["optional-dependencies"])


def _begins(command: Command, beginning: str) -> bool:
    return f"{command} ".startswith(f"{beginning} ")


def _found(path: Path) -> list[Command]:
    return list(_commands(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "path", _DOCUMENTS, ids=[str(path.relative_to(_ROOT)) for path in _DOCUMENTS]
)
def test_every_command_exists_with_its_options(path: Path) -> None:
    wrong = {str(command): _complaint(command) for command in _found(path)}
    assert {text: why for text, why in wrong.items() if why is not None} == {}


def test_every_whole_command_is_run_or_has_its_reason() -> None:
    whole = [command for path in _DOCUMENTS for command in _found(path) if command.whole]
    assert whole
    listed = (*_CANNOT_RUN, *_RUN_BY)
    left = [
        str(command) for command in whole if not any(_begins(command, start) for start in listed)
    ]
    assert left == []
    # No reason for what no document says any more.
    every = [command for path in _DOCUMENTS for command in _found(path)]
    stale = [start for start in listed if not any(_begins(command, start) for command in every)]
    assert stale == []
    for start, place in _RUN_BY.items():
        text = (_ROOT / place).read_text(encoding="utf-8")
        name = start.split("/")[-1].split()[-1]
        name = name.split(".")[-1] if start.startswith("python") else name
        assert name in text, f"{place} does not run {start}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```bash\nasr decode EXP a.wav --out hyp.jsonl  # text\n```\n", None),
        ("```bash\nasr decode EXP a.wav --oot hyp.jsonl\n```\n", "No such option"),
        ("```bash\nasr score --ref dev.jsonl\n```\n", "Missing parameter: hyp"),
        ("```bash\nasr decode EXP a.wav --out h --format mp3\n```\n", "'mp3' is not one of"),
        ("```bash\n# asr decod EXP a.wav\n```\n", "no command decod"),
        ("```bash\nfor x in a b; do asr lm scor $x; done\n```\n", "no command scor"),
        ("```bash\nasr lm score lm \\\n    text.txt --jsn x\n```\n", "No such option"),
        ("see `asr train ... --resume`", None),
        ("see `asr train ... --resum`", "no option --resum"),
        ("`asr lm trane`", "no command trane"),
        ("```bash\n./recipes/librispeech/run.sh --stage 2 -- a.b=1\n```\n", None),
        ("```bash\n./recipes/librispeech/run.sh --stages 2\n```\n", "has no --stages"),
        ("`recipes/librispeech/ran.sh`", "there is no recipes/librispeech/ran.sh"),
        ("```bash\ntools/setup.sh lm sinthetic\n```\n", "no extra sinthetic"),
        ("```bash\nX=1 python -m tools.bench_stop\n```\n", "no module tools.bench_stop"),
        ("```bash\npython -m tools.bench_step --no-such-option\n```\n", "has no --no-such-option"),
    ],
)
def test_a_wrong_command_is_found(text: str, complaint: str | None) -> None:
    [command] = _commands(text)
    found = _complaint(command)
    if complaint is None:
        assert found is None
    else:
        assert found is not None
        assert complaint in found
