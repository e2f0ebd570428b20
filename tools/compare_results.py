"""What compare.sh keeps of each run, and the table made of it.

    python -m tools.compare_results record --exp EXP --row ROW --seed N --settings WORDS --out F \
        [--joined] SPLIT=MANIFEST ...
    python -m tools.compare_results check F --settings WORDS
    python -m tools.compare_results table FOLDER --against ROW [--rows ROW ...]

A run's record holds the errors of each utterance, with --joined also of utterances joined to longer
recordings, so that the tables need no other file. Seeds are pooled: an utterance's errors are their
sum over the seeds of its row.
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.manifest import read_manifest
from asr.scoring.counts import count_errors_batch
from asr.scoring.intervals import interval_of
from asr.scoring.significance import holm, matched_pairs_p
from asr.transcripts.hypothesis_file import read_hypotheses
from tools.joined_errors import joined_errors

_LEVEL = 0.05
_JOINED_SECONDS = (30, 120, 600)


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("record")
    one.add_argument("--exp", type=Path, required=True)
    one.add_argument("--row", required=True)
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--settings", required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--joined", action="store_true")
    one.add_argument("splits", nargs="+", metavar="SPLIT=MANIFEST")
    one.set_defaults(run=_record)
    check = commands.add_parser("check")
    check.add_argument("record", type=Path)
    check.add_argument("--settings", required=True)
    check.set_defaults(run=_check)
    table = commands.add_parser("table")
    table.add_argument("folder", type=Path)
    table.add_argument("--against", required=True)
    table.add_argument("--rows", nargs="+", help="default: all that are there")
    table.set_defaults(run=_table)
    args = parser.parse_args()
    args.run(args)


def _record(args: argparse.Namespace) -> None:
    provenance = json.loads((args.exp / "provenance.json").read_text(encoding="utf-8"))
    with (args.exp / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["audio_seconds_per_second"] for row in csv.DictReader(file)]
    speeds = [float(speed) for speed in rows if speed]
    record = {
        "row": args.row,
        "seed": args.seed,
        "settings": args.settings,
        "commit": provenance["commit"],
        "parameters": provenance["parameters"],
        "hours": provenance["hours"],
        "audio_seconds_per_second": _median(speeds),
        "errors": {},
        "joined": {},
    }
    for each in args.splits:
        split, _, manifest = each.partition("=")
        references = read_manifest(Path(manifest))
        hypotheses = read_hypotheses(args.exp / "decoded" / f"{split}.jsonl")
        texts = [hypotheses[item.id].text for item in references]
        counts = count_errors_batch([item.text or "" for item in references], texts, unit="word")
        record["errors"][split] = [[count.errors, count.reference_length] for count in counts]
        record["joined"][split] = {
            str(seconds): joined_errors(args.exp, references, seconds=seconds)
            for seconds in (_JOINED_SECONDS if args.joined else ())
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part")
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(args.out)


def _check(args: argparse.Namespace) -> None:
    found = json.loads(args.record.read_text(encoding="utf-8"))["settings"]
    if found != args.settings:
        sys.exit(
            f"error: expected {args.record} to be made with {args.settings!r}, found {found!r}; "
            "remove it or give another --results"
        )


def _table(args: argparse.Namespace) -> None:
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(args.folder.glob("*.json"))
    ]
    if args.rows is not None:
        records = [record for record in records if record["row"] in args.rows]
    rows = list(dict.fromkeys(record["row"] for record in records))
    for split in dict.fromkeys(name for record in records for name in record["errors"]):
        print(f"\n{split}\n")
        print(
            "| row | WER | seeds | difference to the baseline | p (Holm) | parameters | "
            "audio s/s | hours |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
        )
        lines = {row: _line(row, split, records, args.against) for row in rows}
        corrected = holm([lines[row]["p"] for row in rows])
        adjusted = dict(zip(rows, corrected, strict=True))
        ordered = sorted(rows, key=lambda row: lines[row]["wer"])
        for row in ordered:
            print(_text(row, lines[row], adjusted[row]))
        if not all(record["joined"][split] for record in records):
            continue
        print(f"\n{split}, utterances joined and decoded in one pass\n")
        print("| row | as they are |", *(f"{seconds} s |" for seconds in _JOINED_SECONDS))
        print("| --- " * (2 + len(_JOINED_SECONDS)) + "|")
        for row in ordered:
            own = [record["joined"][split] for record in records if record["row"] == row]
            cells = [_joined([each[str(seconds)] for each in own]) for seconds in _JOINED_SECONDS]
            print("| " + " | ".join([row, f"{100 * lines[row]['wer']:.2f}", *cells]) + " |")


def _line(row: str, split: str, records: list[dict[str, Any]], against: str) -> dict[str, Any]:
    own = {record["seed"]: record for record in records if record["row"] == row}
    base = {record["seed"]: record for record in records if record["row"] == against}
    errors, lengths = _pooled([record["errors"][split] for record in own.values()])
    speeds = [speed for r in own.values() if (speed := r["audio_seconds_per_second"]) is not None]
    line: dict[str, Any] = {
        "wer": errors.sum() / lengths.sum(),
        "interval": interval_of(errors, lengths, seed=0),
        "seeds": [_rate(record["errors"][split]) for record in own.values()],
        "p": None,
        "difference": None,
        "parameters": next(iter(own.values()))["parameters"],
        "speed": _median(speeds),
        "hours": sum(record["hours"] for record in own.values()),
    }
    common = own.keys() & base.keys()
    if row != against and common:
        ours, lengths = _pooled([own[seed]["errors"][split] for seed in common])
        theirs, _ = _pooled([base[seed]["errors"][split] for seed in common])
        line["difference"] = (ours.sum() - theirs.sum()) / lengths.sum()
        line["p"] = matched_pairs_p(ours - theirs, seed=0)
    return line


def _median(speeds: list[float]) -> float | None:
    """The middle one; None without any, as of trainings shorter than `log_every_steps`."""
    return statistics.median(speeds) if speeds else None


def _pooled(seeds: list[list[list[int]]]) -> tuple[Any, Any]:
    """Errors and reference words of each utterance, summed over seeds: (utterance,) each."""
    total = np.array(seeds, dtype=np.int64).sum(axis=0)
    return total[:, 0], total[:, 1]


def _joined(seeds: list[list[list[int]] | str]) -> str:
    """WER over seeds with its interval over recordings, or that the length is refused."""
    errors = [each for each in seeds if not isinstance(each, str)]
    if len(errors) < len(seeds):
        return "refused"
    total, lengths = _pooled(errors)
    interval = interval_of(total, lengths, seed=0)
    bounds = ""
    if interval.low is not None and interval.high is not None:
        bounds = f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return f"{100 * total.sum() / lengths.sum():.2f}{bounds}"


def _rate(errors: list[list[int]]) -> float:
    return sum(each[0] for each in errors) / sum(each[1] for each in errors)


def _text(row: str, line: dict[str, Any], p: float | None) -> str:
    interval = line["interval"]
    bounds = interval.reason
    if interval.low is not None:
        bounds = f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    seeds = ", ".join(f"{100 * rate:.2f}" for rate in line["seeds"])
    cells = [
        row,
        f"{100 * line['wer']:.2f} {bounds}",
        seeds,
        "" if line["difference"] is None else f"{100 * line['difference']:+.2f}",
        "" if p is None else f"{p:.4f}{' *' if p < _LEVEL else ''}",
        f"{line['parameters'] / 1e6:.2f} M",
        "" if line["speed"] is None else f"{line['speed']:.0f}",
        f"{line['hours']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
