"""Time and peak memory of an encoder's forward pass against the length of the audio, for each word.

Each cell is a process of its own, since peak memory belongs to a process. A cell that would take
more than the limits, by the growth of the two before it, is not attempted: its prediction stands
in brackets.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from asr.claims.claim import Curve
from asr.claims.report import draw
from asr.config import load_config
from asr.ctc import build_model
from asr.devices import peak_memory_bytes
from asr.model.attention import ATTENTION, OFFLINE, Mode, chunked

_CONF = Path(__file__).parent.parent / "recipes" / "librispeech" / "conf"
_FEATURE_FRAMES_PER_SECOND = 100
_LENGTHS = (10, 60, 600, 3600)


def main() -> None:
    """Measure and print one row a word."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=_CONF / "conformer_medium.toml")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--words", default=",".join(ATTENTION))
    parser.add_argument("--seconds", type=int, nargs="+", default=_LENGTHS)
    parser.add_argument("--chunk-frames", type=int, help="chunked mode with chunks of this length")
    parser.add_argument("--left-frames", type=int, help="left context in chunked mode")
    parser.add_argument("--train", action="store_true", help="forward and backward")
    parser.add_argument("--limit-gib", type=float, default=16)
    parser.add_argument("--limit-minutes", type=float, default=10)
    parser.add_argument("--json", type=Path, help="also write the cells here")
    parser.add_argument(
        "--table", type=Path, nargs="+", help="read files of --json instead of measuring"
    )
    parser.add_argument(
        "--plots", type=Path, help="also draw PREFIX-memory.png and PREFIX-time.png"
    )
    args = parser.parse_args()
    cells = _read(args.table) if args.table else _cells(args)
    print(_table(cells))
    if args.json:
        args.json.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    if args.plots:
        _draw(cells, args.plots)


def _read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [cell for path in paths for cell in json.loads(path.read_text(encoding="utf-8"))]


def _cells(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each word at each length."""
    cells: list[dict[str, Any]] = []
    for word in args.words.split(","):
        row: list[dict[str, Any]] = []
        for seconds in args.seconds:
            row.append(_cell(word, seconds, row, args))
            _report(row[-1])
        cells += row
    return cells


def _cell(
    word: str, seconds: int, before: list[dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    cell: dict[str, Any] = {"word": word, "seconds": seconds, "measured": True}
    if len(before) > 1:
        predicted = {key: _grown(before, key, seconds) for key in ("peak_bytes", "wall_seconds")}
        too_large = predicted["peak_bytes"] > args.limit_gib * 2**30
        too_slow = predicted["wall_seconds"] > args.limit_minutes * 60
        if not before[-1]["measured"] or too_large or too_slow:
            return cell | predicted | {"measured": False}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return cell | pool.submit(_measure, word, seconds, args).result()


def _grown(before: list[dict[str, Any]], key: str, seconds: int) -> float:
    """What the power law through the last two cells says."""
    first, second = before[-2:]
    # A short input may need no more memory than the pass before it: 0 bytes.
    ratio = max(second[key], 1) / max(first[key], 1)
    grown = math.log(ratio) / math.log(second["seconds"] / first["seconds"])
    # Short inputs hide the growth behind what does not grow; it is quadratic at most.
    power = min(max(grown, 1.0), 2.0)
    return float(second[key] * (seconds / second["seconds"]) ** power)


def _measure(word: str, seconds: int, args: argparse.Namespace) -> dict[str, Any]:
    frames = seconds * _FEATURE_FRAMES_PER_SECOND
    overrides = [f"model.attention.kind={word}", *args.set]
    if word == "linformer":
        overrides.append(f"model.attention.max_length={max(4096, frames // 4)}")
    config = load_config(args.config, overrides)
    torch.manual_seed(0)
    model = build_model(config.model, vocab_size=256, feature_size=80)
    mode = OFFLINE
    if args.chunk_frames:
        mode = chunked(args.chunk_frames, args.left_frames)
    encoder = model.encoder.train(args.train)
    _pass(encoder, 100, mode, train=args.train)
    cpu = torch.device("cpu")
    base = peak_memory_bytes(cpu)
    start = time.perf_counter()
    _pass(encoder, frames, mode, train=args.train)
    wall_seconds = time.perf_counter() - start
    peak = peak_memory_bytes(cpu)
    return {"wall_seconds": wall_seconds, "peak_bytes": peak - base, "process_bytes": peak}


def _pass(encoder: torch.nn.Module, frames: int, mode: Mode, *, train: bool) -> None:
    features, lengths = torch.randn(1, frames, 80), torch.tensor([frames])
    with torch.set_grad_enabled(train):
        output = encoder(features, lengths, mode=mode).output
        if train:
            torch.autograd.backward(output.square().mean())


def _table(cells: list[dict[str, Any]]) -> str:
    """Markdown: peak memory and time; predictions in brackets."""
    lengths = sorted({cell["seconds"] for cell in cells})
    rows = {
        word: {cell["seconds"]: cell for cell in cells if cell["word"] == word}
        for word in dict.fromkeys(cell["word"] for cell in cells)
    }
    lines = [
        " | ".join(["| word", *(f"{seconds} s" for seconds in lengths)]) + " |",
        "| --- " * (1 + len(lengths)) + "|",
    ]
    for word, row in rows.items():
        texts = [_cell_text(row[seconds]) if seconds in row else "" for seconds in lengths]
        lines.append(" | ".join([f"| {word}", *texts]) + " |")
    return "\n".join(lines)


def _cell_text(cell: dict[str, Any]) -> str:
    text = f"{cell['peak_bytes'] / 2**30:.2f} GiB, {cell['wall_seconds']:.1f} s"
    return text if cell["measured"] else f"[{text}]"


def _draw(cells: Sequence[Mapping[str, Any]], prefix: Path) -> None:
    """Plot what was measured; predictions, and what a logarithm cannot show, are left out."""
    for name, key, unit, label in (
        ("memory", "peak_bytes", 2**30, "peak memory beyond the model (GiB)"),
        ("time", "wall_seconds", 1, "time (s)"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for cell in cells:
            if cell["measured"] and cell[key]:
                point = (cell["seconds"], cell[key] / unit)
                lines.setdefault(cell["word"], []).append(point)
        curve = Curve(title=f"Length and {name}", x="audio (s)", y=label, lines=lines)
        draw(curve, prefix.with_name(f"{prefix.name}-{name}.png"))


def _report(cell: dict[str, Any]) -> None:
    figures = f"{cell['peak_bytes'] / 2**30:8.2f} GiB {cell['wall_seconds']:9.2f} s"
    if not cell["measured"]:
        figures = f"[{figures.strip()}]"
    print(f"{cell['word']:16}{cell['seconds']:6} s of audio {figures}", flush=True)


if __name__ == "__main__":
    main()
