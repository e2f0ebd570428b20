"""One CTC training step and one inference pass of Attune and of its peers, side by side.

    python -m tools.bench_peers [--systems attune,espnet] [--markdown FILE] [--json FILE]

All have the same shape: 16 Conformer blocks, 4 heads, kernel 31, 4x subsampling, dropout 0.1 where
the paper has it, 1,024 pieces and the blank. A step is forward, CTC loss, backward, clipping and
AdamW; features are made before. Peers come from the package registry into an environment of their
own, and each system is a process of its own. They take turns, one step at a time (after one that
does not count) while the others sleep.

A product of two 4096 x 4096 matrices in the same type takes its turn too: its speed is the peak
that shares are of. Operations are those that the shape needs for the real frames, the same for all.
On the CPU, memory is the process's largest resident set, and "beyond the model" the same less that
when the model was loaded; inference runs before training, so that its peak is its own.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import torch

from asr.features.log_mel import LogMelConfig
from tools.peers.environment import prepare
from tools.peers.pool import Pool
from tools.peers.shape import Shape, useful_flops
from tools.peers.systems import SYSTEMS
from tools.peers.table import Case, Row, doubts, summarise, table, title
from tools.peers.worker import MATRIX_PRODUCT, Job

_VENV = Path(__file__).parent.parent / ".venv-peers"
_KINDS = ("float32", "bfloat16")
_WORKS = ("inference", "training")
_BATCHES = ("even", "mixed")
_PRODUCT_SIZE = 4096


def main() -> None:
    """Measure; after each case print its table and write what was asked for."""
    args = _arguments()
    pythons, missing = _interpreters(args.systems, args.venv)
    rows: list[Row] = []
    texts = [f"torch {torch.__version__} on {args.device}, {args.repeats} repeats"]
    texts.append("\n".join(f"- {name}: {SYSTEMS[name].note}" for name in args.systems))
    print("\n\n".join(texts), flush=True)
    for width, kind, batch in product(args.widths, args.types, args.batches):
        seconds = batch_seconds(batch, args.utterances, seconds=args.seconds)
        jobs = _jobs(args, width, kind, seconds)
        with Pool(pythons, {name: jobs[name] for name in jobs if name not in missing}) as pool:
            for work in _WORKS:
                case = _case(args, work, width, kind, seconds)
                case_rows, product_flops = _measure(pool, case, args.repeats)
                case_rows += [
                    Row(case=case, system=name, error=error) for name, error in missing.items()
                ]
                text = [title(case, product_flops=product_flops), table(case_rows)]
                text += doubts(case_rows)
                print("\n" + "\n\n".join(text), flush=True)
                rows += case_rows
                texts += text
                _write(args, rows, texts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=_VENV, help="environment of the peers")
    parser.add_argument("--systems", type=_words(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--widths", type=_widths, default=[144, 256], help="such as 144,256")
    parser.add_argument("--types", type=_words(_KINDS), default=list(_KINDS))
    parser.add_argument("--batches", type=_words(_BATCHES), default=list(_BATCHES))
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="of all; in the mixed batch a quarter to 4/3"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--markdown", type=Path, help="also write the tables here")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    return parser.parse_args()


def _words(known: Sequence[str] | Mapping[str, object]) -> Callable[[str], list[str]]:
    """What reads words with commas between them, all of them known."""

    def read(text: str) -> list[str]:
        words = text.split(",")
        if unknown := sorted(set(words) - set(known)):
            raise argparse.ArgumentTypeError(
                f"expected words among {', '.join(known)} with commas between them, found "
                f"{', '.join(unknown)}"
            )
        return words

    return read


def _widths(text: str) -> list[int]:
    return [int(width) for width in text.split(",")]


def _interpreters(systems: Sequence[str], venv: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The interpreter of each system, and why there is none, by system."""
    wanted = {name: SYSTEMS[name].requirement for name in systems}
    requirements = {name: each for name, each in wanted.items() if each is not None}
    pythons = dict.fromkeys([*systems, MATRIX_PRODUCT], Path(sys.executable))
    if not requirements:
        return pythons, {}
    print(f"installing {', '.join(requirements.values())} in {venv}", file=sys.stderr)
    try:
        python, failures = prepare(venv, list(requirements.values()))
    except RuntimeError as error:
        return pythons, dict.fromkeys(requirements, str(error))
    pythons |= dict.fromkeys(requirements, python)
    return pythons, {
        name: failures[each] for name, each in requirements.items() if each in failures
    }


def batch_seconds(batch: str, count: int, *, seconds: float) -> list[float]:
    """Seconds of each of so many utterances."""
    if batch == "even":
        return [seconds] * count
    return list(torch.linspace(seconds / 4, seconds * 4 / 3, count).tolist())


def _jobs(
    args: argparse.Namespace, width: int, kind: str, seconds: Sequence[float]
) -> dict[str, Job]:
    widths = dict.fromkeys(args.systems, width) | {MATRIX_PRODUCT: _PRODUCT_SIZE}
    return {
        name: Job(
            system=name,
            width=size,
            layers=args.layers,
            frames=_frames(seconds),
            bfloat16=kind == "bfloat16",
            device=args.device,
        )
        for name, size in widths.items()
    }


def _frames(seconds: Sequence[float]) -> list[int]:
    return [LogMelConfig().frames_of_seconds(each) for each in seconds]


def _case(
    args: argparse.Namespace, work: str, width: int, kind: str, seconds: Sequence[float]
) -> Case:
    frames = _frames(seconds)
    spread = f"{min(seconds):.3g}" + (f" .. {max(seconds):.3g}" if len(set(seconds)) > 1 else "")
    shape = Shape(width=width, layers=args.layers)
    return Case(
        work=work,
        width=width,
        kind=kind,
        batch=f"{len(seconds)} x {spread} s",
        audio_seconds=sum(seconds),
        flops=useful_flops(shape, frames, training=work == "training"),
    )


def _measure(pool: Pool, case: Case, repeats: int) -> tuple[list[Row], float]:
    """Rows of the pool's systems, and operations a second of the matrix product.

    Raises:
        SystemExit: The matrix product failed, and with it what shares are of.
    """
    answers = pool.measure(case.work, repeats=repeats)
    if MATRIX_PRODUCT not in answers:
        raise SystemExit(f"error: {MATRIX_PRODUCT}: {pool.errors[MATRIX_PRODUCT]}")
    seconds = [answer["seconds"] for answer in answers.pop(MATRIX_PRODUCT)]
    product_flops = 2 * _PRODUCT_SIZE**3 / statistics.median(seconds)
    rows = [
        Row(
            case=case,
            system=name,
            figures=summarise(case, pool.about[name], measured, product_flops=product_flops),
        )
        for name, measured in answers.items()
    ]
    rows += [Row(case=case, system=name, error=error) for name, error in pool.errors.items()]
    return rows, product_flops


def _write(args: argparse.Namespace, rows: Sequence[Row], texts: Sequence[str]) -> None:
    """After each case, so that an interrupted run leaves what it has."""
    if args.json:
        content = json.dumps([asdict(row) for row in rows], indent=1)
        args.json.write_text(content + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
