"""A table of reports that `asr score --json` wrote, one row a system.

    python -m tools.score_table NAME=REPORT.json ...

p is that of the matched pairs against each system that the report was made `--against`.
"""

import argparse
import json
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", metavar="NAME=REPORT.json")
    print("| system | WER | by speaker | CER | p against |")
    print("| --- | --- | --- | --- | --- |")
    for word in parser.parse_args().reports:
        name, _, path = word.partition("=")
        print(row(name, json.loads(Path(path).read_text(encoding="utf-8"))))


def row(name: str, report: dict[str, Any]) -> str:
    """One line of the table."""
    words, characters = report["words"], report["characters"]
    against = [
        f"{Path(each['system']).stem}: {each['by_utterance']['matched_pairs_p']:.2g}"
        for each in report["comparisons"]
    ]
    cells = [
        name,
        f"{_percent(words['counts']['rate'])} {_interval(words['by_utterance'])}",
        _interval(words["by_speaker"]),
        _percent(characters["counts"]["rate"]),
        ", ".join(against),
    ]
    return f"| {' | '.join(cells)} |"


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"


def _interval(interval: dict[str, Any] | None) -> str:
    if interval is None or interval["low"] is None:
        return ""
    return f"[{_percent(interval['low'])}, {_percent(interval['high'])}]"


if __name__ == "__main__":
    main()
