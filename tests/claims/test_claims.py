"""The harness of the claims and their tasks; the claims themselves take minutes."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from asr.claims import CLAIMS, language
from asr.claims.claim import Check, Claim, Measurement, read_thresholds, run_claim
from asr.claims.cost import operations, peak_bytes
from asr.claims.language import LANGUAGE_CLAIMS
from asr.claims.report import write_report
from asr.claims.tasks import CLASSES, IGNORED, chirps, cue, motifs, noisy_segments, sums
from asr.cli import app
from asr.data.corpora.synthetic.grammar import PATTERNS


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_every_claim_has_thresholds_and_none_is_left_over() -> None:
    thresholds = read_thresholds()
    assert sorted(thresholds) == sorted([*CLAIMS, *LANGUAGE_CLAIMS])
    for limits in thresholds.values():
        assert limits["seeds"] >= 1
        assert any(key.endswith(("_at_most", "_at_least", "_within")) for key in limits)


@pytest.mark.parametrize(
    ("kind", "values", "holds"),
    [
        ("at_most", (0.5, 0.9, 5.0), True),
        ("at_most", (0.5, 1.1, 5.0), False),
        ("at_least", (0.5, 1.1, 5.0), True),
        ("at_least", (0.5, 0.9, 5.0), False),
        ("within", (0.9, 1.7, 5.0), True),
        ("within", (-0.1, -0.1, -0.1), False),
    ],
)
def test_the_median_decides(kind: str, values: tuple[float, ...], holds: bool) -> None:
    assert Check(name="x", kind=kind, limit=1.0, values=values).holds == holds


def test_claim_that_does_not_hold_is_reported_as_such(tmp_path: Path) -> None:
    claim = Claim(
        headline="Up is down",
        source="Nobody 1900",
        measure=lambda seed, thresholds: Measurement(values={"up": seed, "down": 1.0}),
    )
    result = run_claim("x", claim, {"seeds": 3, "up_at_most": 0.5, "down_at_least": 1})
    assert not result.holds
    write_report([result], tmp_path)
    text = (tmp_path / "claims.md").read_text()
    assert "0 of 1 hold." in text
    assert "## x: does not hold" in text
    assert "| up | 1 | ≤ 0.5 | 0, 1, 2 | does not hold |" in text
    (record,) = json.loads((tmp_path / "claims.json").read_text())
    assert [check["holds"] for check in record["checks"]] == [False, True]


def test_command_runs_one_claim_with_its_plot(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["claims", "--only", "reversible", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert "reversible        holds" in done.output
    assert (tmp_path / "reversible-1.png").read_bytes().startswith(b"\x89PNG")


def test_missing_matplotlib_is_one_line_before_any_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["claims", "--only", "reversible", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert str(done.exception) == (
        "expected matplotlib for the plots of the claims, found none; "
        'install the extra: pip install "attune-asr[plots]"'
    )
    assert not any(tmp_path.iterdir())


def test_unknown_claim_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["claims", "--only", "alibii", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "expected claims among" in str(done.exception)


def test_claims_about_language_ask_for_text(tmp_path: Path) -> None:
    command = ["claims", "--only", "language_alibi", "--out", str(tmp_path)]
    assert "give --text FILE" in str(CliRunner().invoke(app, command).exception)
    (tmp_path / "text.txt").write_text("too little\n")
    done = CliRunner().invoke(app, [*command, "--text", str(tmp_path / "text.txt")])
    assert "expected text of at least" in str(done.exception)


def test_claims_about_language_measure_what_the_thresholds_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "_STEPS", 2)
    monkeypatch.setattr(language, "_SCORED_TOKENS", 600)
    lines = [" ".join(pattern.replace("{", "").replace("}", "").split()) for pattern in PATTERNS]
    (tmp_path / "text.txt").write_text("\n".join(lines * 6))
    claims = language.language_claims(tmp_path / "text.txt")
    for name, limits in read_thresholds().items():
        if name in claims:
            result = run_claim(name, claims[name], {**limits, "seeds": 1})
            assert len(result.checks) == len(limits) - 1


def test_segments_have_four_to_ten_frames() -> None:
    labels = noisy_segments(20, 200, _generator()).labels
    assert labels.shape == (20, 200)
    for row in labels.tolist():
        changes = [i for i in range(1, 200) if row[i] != row[i - 1]]
        assert min(b - a for a, b in pairwise(changes)) >= 4


def test_sums_are_modular() -> None:
    frames = sums(3, 5, _generator())
    first, second = torch.split(frames.inputs, CLASSES, dim=2)
    assert torch.equal((first.argmax(2) + second.argmax(2)) % CLASSES, frames.labels)


def test_cue_is_in_the_first_frame_alone() -> None:
    frames = cue(50, 24, _generator(), distance=17)
    assert (frames.labels != IGNORED).sum(dim=1).eq(1).all()
    named = frames.inputs[:, 0, :CLASSES].argmax(dim=1)
    assert torch.equal(named, frames.labels[:, 17])


def test_motifs_end_alike_and_differ_before() -> None:
    frames = motifs(10, 32, _generator())
    shapes = frames.inputs[:, :, :4].view(10, 8, 4, 4)[:, :, :3]
    assert torch.equal(shapes[:, :, 2], shapes[:, :1, 2].expand(-1, 8, -1))
    for item in range(10):
        same = [bool(torch.equal(shapes[item, 7], shapes[item, other])) for other in range(7)]
        assert same.count(True) == 1
        value = frames.inputs[item, 4 * same.index(True) + 3, 4:].argmax()
        assert value == frames.labels[item, 31]


def test_chirps_come_in_pairs_that_are_each_other_backwards() -> None:
    frames = chirps(400, 64, _generator())
    runs: dict[int, list[torch.Tensor]] = {label: [] for label in range(CLASSES)}
    for labels, inputs in zip(frames.labels.tolist(), frames.inputs, strict=True):
        ends = [i for i in range(1, 64) if labels[i] != labels[i - 1]]
        for start, end in pairwise(ends):
            # Tokens last four frames or more, so that six frames are one token.
            if end - start == 6:
                runs[labels[start]].append(inputs[start:end])
    # The strongest feature of each frame, over all noise.
    paths = {label: torch.stack(found).mean(dim=0).argmax(dim=1) for label, found in runs.items()}
    for label in range(0, CLASSES, 2):
        rising, falling = paths[label], paths[label + 1]
        assert (rising.diff() % 16).tolist() == [1] * 5
        assert falling.tolist() == rising.flip(0).tolist()


def test_peak_bytes_counts_what_lives_at_once() -> None:
    def compute() -> None:
        x = torch.zeros(1000)
        x = x + 1
        x = x + 1

    assert peak_bytes(compute) == 8000


def test_operations_counts_products_and_elementwise_work() -> None:
    x, y = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    assert operations(lambda: x @ y) == 2 * 2 * 3 * 4 * 5
    assert operations(lambda: (x * x).sum(dim=2)) == 24 + 24
    linear = torch.nn.Linear(4, 4)
    assert operations(lambda: linear(x) @ y, products_only=True) == 2 * 2 * 3 * 4 * 5
