"""The table of reports, from reports as `asr score` writes them."""

from pathlib import Path

import pytest

from asr.data.manifest import Utterance
from asr.scoring.report import score, to_json
from tools.score_table import main


def test_a_row_a_system(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = [
        Utterance(
            id=f"{number}",
            audio_filepath=Path(f"{number}.flac"),
            duration_seconds=1.0,
            text="one two three four",
            speaker=f"{number % 5}",
        )
        for number in range(30)
    ]
    greedy = {each.id: "one two three fou" for each in spoken} | {"0": "one two three four"}
    better = greedy | {f"{number}": "one two three four" for number in range(0, 30, 2)}
    first, second = (
        score(spoken, greedy),
        score(spoken, better, against={"out/greedy.jsonl": greedy}),
    )
    words = ["score_table.py"]
    for name, report in (("greedy", first), ("better", second)):
        (tmp_path / name).write_text(to_json(report), encoding="utf-8")
        words.append(f"{name}={tmp_path / name}")
    monkeypatch.setattr("sys.argv", words)
    main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows[0].startswith("| greedy | 24.17 [")
    assert rows[0].endswith("| 5.37 |  |")
    assert rows[1].startswith("| better | 12.50 [")
    assert "| 2.78 | greedy: 0." in rows[1]
