import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.data.manifest import Utterance, write_manifest
from asr.recognizer import load
from tools import bench_streaming


def test_table_has_a_row_for_each_mode(
    tiny_experiment: Path,
    noise: Callable[..., NDArray[np.float32]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for seed, path in enumerate(paths):
        soundfile.write(path, noise(2.0, seed=seed), 16000, subtype="FLOAT")
    texts = [hypothesis.text for hypothesis in load(tiny_experiment).transcribe(list(paths))]
    # Offline there is one error, in one more word.
    texts[1] += " MORE"
    write_manifest(
        tmp_path / "m.jsonl",
        [
            Utterance(id=path.stem, audio_filepath=path, duration_seconds=2.0, text=text)
            for path, text in zip(paths, texts, strict=True)
        ],
    )
    spans = ["--chunk-seconds", "0.32", "0.64", "--left-seconds", "0.64", "all"]
    monkeypatch.setattr(
        sys, "argv", ["bench", str(tiny_experiment), str(tmp_path / "m.jsonl"), *spans]
    )
    bench_streaming.main()
    _, offline, *rows = capsys.readouterr().out.splitlines()
    words = sum(len(text.split()) for text in texts)
    assert offline.split()[:3] == ["offline", "all", f"{100 / words:.2f}"]
    assert [row.split()[:2] for row in rows] == [
        ["0.32", "0.64"],
        ["0.32", "all"],
        ["0.64", "0.64"],
        ["0.64", "all"],
    ]
    for row in rows:
        assert float(row.split()[2]) > 100 / words
        assert ": 0." in row
        assert " + 0.045 + " in row
