"""The comparison with peers, as far as it goes without them."""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tools import bench_peers
from tools.ctc_step import random_batch, training_step
from tools.peers.environment import prepare
from tools.peers.pool import Worker
from tools.peers.shape import MEL_BINS, VOCAB_SIZE, Shape, useful_flops
from tools.peers.systems import SYSTEMS
from tools.peers.table import Case, Figures, Row, doubts, summarise, table
from tools.peers.worker import Job

_CASE = Case(
    work="training", width=144, kind="float32", batch="2 x 6 s", audio_seconds=12.0, flops=24
)


def _figures(*, seconds: float = 1.0, **changed: Any) -> Figures:  # noqa: ANN401
    answer = {
        "seconds": seconds,
        "idle_cpu_seconds": 0.0,
        "peak_bytes": 3 * 2**30,
        "value": 50.0,
        **changed,
    }
    about = {"version": "1.0", "parameters": 8_000_000, "loaded_bytes": 2**30, "threads": 1}
    return summarise(_CASE, about | changed, [answer], product_flops=48.0)


def test_figures_of_three_steps() -> None:
    answers = [
        {"seconds": 4.0, "idle_cpu_seconds": 0.0, "peak_bytes": 50, "value": 9.0},
        {"seconds": 1.0, "idle_cpu_seconds": 0.5, "peak_bytes": 60, "value": 8.0},
        {"seconds": 3.0, "idle_cpu_seconds": 0.3, "peak_bytes": 70, "value": 7.0},
    ]
    about = {"version": "1.0", "parameters": 10, "loaded_bytes": 45, "threads": 2}
    assert summarise(_CASE, about, answers, product_flops=16.0) == Figures(
        version="1.0",
        audio_seconds_per_second=4.0,
        slowest=3.0,
        fastest=12.0,
        peak_share=0.5,
        product_flops=16.0,
        parameters=10,
        peak_bytes=70,
        step_bytes=25,
        idle_share=0.1,
        value=7.0,
        threads=2,
    )


def test_table_has_the_fastest_first_and_failures_last() -> None:
    rows = [
        Row(case=_CASE, system="broken", error="no such package"),
        Row(case=_CASE, system="peer", figures=_figures(seconds=3.0)),
        Row(case=_CASE, system="attune", figures=_figures(seconds=2.0)),
    ]
    _, _, *lines = table(rows).splitlines()
    assert lines == [
        "| attune 1.0 | 6.0 | 6.0 .. 6.0 | 1.00 x | 25.0 % | 3.00 | 2.00 | 8.00 M |",
        "| peer 1.0 | 4.0 | 4.0 .. 4.0 | 1.50 x | 16.7 % | 3.00 | 2.00 | 8.00 M |",
        "| broken | no such package | | | | | | |",
    ]
    # Without ours there is nothing to compare with.
    assert "| 4.0 .. 4.0 |  | 16.7 %" in table(rows[:2])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": float("nan")}, "expected a finite result, found nan"),
        ({"idle_cpu_seconds": 0.2}, "expected it to sleep between steps, found 20.0%"),
        ({"parameters": 7_000_000}, "parameters within 10%, found 7000000"),
    ],
)
def test_doubtful_rows_are_named(changed: dict[str, Any], message: str) -> None:
    ours = Row(case=_CASE, system="attune", figures=_figures())
    assert doubts([ours, Row(case=_CASE, system="peer", figures=_figures())]) == []
    (line,) = doubts([ours, Row(case=_CASE, system="peer", figures=_figures(**changed))])
    assert line.startswith("peer: ")
    assert message in line


def test_operations_are_those_that_pytorch_counts() -> None:
    shape, frames = Shape(width=32, layers=2), 198
    system = SYSTEMS["torchaudio"].build(shape)
    counter = FlopCounterMode(display=False)
    with counter:
        system.log_probs(torch.randn(1, frames, MEL_BINS), torch.tensor([frames]))
    # torchaudio has no positions: one product less of (head, frame, head_dim) and its transpose.
    encoder_frames = 48
    positions = 2 * shape.layers * encoder_frames**2 * shape.width
    assert useful_flops(shape, [frames], training=False) == counter.get_total_flops() + positions


def test_operations_leave_out_padding_and_count_the_backward_pass() -> None:
    shape = Shape(width=32, layers=2)
    one, other = (useful_flops(shape, [frames], training=False) for frames in (100, 300))
    assert useful_flops(shape, [100, 300], training=True) == 3 * (one + other)


def test_batch_is_padded_with_zeros() -> None:
    batch = random_batch([40, 100], mel_bins=8, vocab_size=5, device="cpu")
    assert batch.features.shape == (2, 100, 8)
    assert not batch.features[0, 40:].any()
    assert batch.features[0, :40].abs().sum(dim=1).gt(0).all()
    assert batch.lengths.tolist() == [40, 100]
    assert batch.label_lengths.tolist() == [1, 3]
    assert batch.labels.min() >= 1
    assert batch.labels.max() <= 5


@pytest.mark.parametrize("name", [name for name in SYSTEMS if SYSTEMS[name].requirement is None])
def test_training_lowers_the_loss(name: str) -> None:
    torch.manual_seed(0)
    system = SYSTEMS[name].build(Shape(width=32, layers=2))
    batch = random_batch([60, 90], mel_bins=MEL_BINS, vocab_size=VOCAB_SIZE, device="cpu")
    step = training_step(system, batch, bfloat16=False)
    losses = [float(step()) for _ in range(6)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_worker_tells_why_it_ended() -> None:
    job = Job(system="kaldi", width=32, layers=2, frames=[60], bfloat16=False, device="cpu")
    worker = Worker(Path(sys.executable), job)
    with pytest.raises(RuntimeError, match=r"found exit status 1: KeyError: .kaldi."):
        worker.answer()
    worker.close()


@pytest.mark.slow
def test_environment_borrows_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    installed, unknown = f"numpy=={version('numpy')}", "no-such-package==1"
    python, failures = prepare(tmp_path / "venv", [installed, unknown])
    assert python.is_relative_to(tmp_path)
    assert list(failures) == [unknown]
    assert "No matching distribution found for no-such-package==1" in failures[unknown]


def test_environment_that_cannot_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    folder.write_text("a file", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"expected .* to end with status 0, found 1"):
        prepare(folder, [])


@pytest.mark.slow
def test_ours_is_measured_beside_a_missing_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    venv = tmp_path / "venv"
    venv.write_text("a file where the environment should be", encoding="utf-8")
    small = "--repeats 2 --seconds 1 --utterances 2 --layers 2 --widths 32 --types float32"
    files = ["--json", str(tmp_path / "rows.json"), "--markdown", str(tmp_path / "table.md")]
    choice = ["--batches", "mixed", "--systems", "attune,espnet", "--device", "cpu"]
    choice += ["--venv", str(venv)]
    monkeypatch.setattr(sys, "argv", ["bench", *small.split(), *choice, *files])
    monkeypatch.setattr(bench_peers, "_PRODUCT_SIZE", 256)
    assert bench_peers.batch_seconds("even", 2, seconds=1.0) == [1.0, 1.0]
    assert bench_peers.batch_seconds("mixed", 2, seconds=1.0) == pytest.approx([0.25, 4 / 3])
    bench_peers.main()
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    works = [(row["case"]["work"], row["case"]["batch"], row["system"]) for row in rows]
    assert works == [
        (work, "2 x 0.25 .. 1.33 s", system)
        for work in ("inference", "training")
        for system in ("attune", "espnet")
    ]
    for row in rows:
        if row["system"] == "espnet":
            assert "venv" in row["error"]
            continue
        assert row["figures"]["audio_seconds_per_second"] > 0
        assert row["figures"]["peak_share"] > 0
    printed = capsys.readouterr().out
    ours = f"| attune {version('attune-asr')} |"
    assert printed.count(ours) == printed.count("| espnet |") == 2
    written = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert set(written.splitlines()) <= set(printed.splitlines())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--systems", "attune,kaldi"], "expected words among attune, .* found kaldi"),
        (["--types", "float16"], "expected words among float32, bfloat16 .* found float16"),
    ],
)
def test_unknown_words_are_refused(
    option: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *option])
    with pytest.raises(SystemExit):
        bench_peers.main()
    assert re.search(message, " ".join(capfd.readouterr().err.split()))
