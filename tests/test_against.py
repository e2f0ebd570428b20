"""The comparison of two checkouts, on processes that measure nothing."""

import math
from pathlib import Path

import pytest

from tools.against import OWN, Speeds, compare, ratio_interval, run_in
from tools.bench_loader import parse_speeds


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "asr").mkdir()
    (tmp_path / "asr" / "__init__.py").write_text("NAME = 'the other'\n")
    return tmp_path


def test_ratio_is_the_geometric_mean_with_students_interval() -> None:
    # Logarithms of the ratios: log 2 plus 0.1, 0 and -0.1; their standard deviation is 0.1.
    own = [2 * math.exp(each) for each in (0.1, 0.0, -0.1)]
    ratio = ratio_interval(own, [1.0, 1.0, 1.0])
    half = 4.303 * 0.1 / math.sqrt(3)
    assert ratio.mean == pytest.approx(2)
    assert (ratio.low, ratio.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))


def test_pairs_keep_together_what_drifts() -> None:
    ratio = ratio_interval([10.0, 20.0, 40.0], [5.0, 10.0, 20.0])
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


def test_checkouts_are_measured_in_turn(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def measure(checkout: Path) -> Speeds:
        seen.append(checkout)
        return {"step": 3.0 if checkout == OWN else 2.0}

    ratios = compare(measure, other=other, pairs=3)
    assert seen == [OWN, other] * 3
    assert ratios["step"].mean == pytest.approx(1.5)
    assert "(95 % interval 1.500 .. 1.500, 3 pairs)" in capsys.readouterr().out


def test_other_cases_too_few_pairs_and_no_checkout_are_errors(other: Path) -> None:
    def measure(checkout: Path) -> Speeds:
        return {"own" if checkout == OWN else "other": 1.0}

    with pytest.raises(ValueError, match="expected the cases"):
        compare(measure, other=other, pairs=2)
    with pytest.raises(ValueError, match="at least two pairs"):
        compare(measure, other=other, pairs=1)
    with pytest.raises(FileNotFoundError, match="expected a checkout"):
        compare(measure, other=other / "nothing", pairs=2)


def test_process_imports_from_its_checkout(other: Path) -> None:
    assert run_in(other, ["-c", "import asr; print(asr.NAME)"]) == "the other\n"
    with pytest.raises(RuntimeError, match="exit status 3"):
        run_in(other, ["-c", "import sys; sys.exit(3)"])


def test_rows_of_the_loaders_tool_are_read() -> None:
    printed = (
        "workers  augmentation  audio s/s  processor ms per audio s  padding %  batches\n"
        "      0  none               1234                      0.81        2.3       60\n"
        "      2  all                 567                         -        2.3       60\n"
    )
    assert parse_speeds(printed) == {
        "0 workers, augmentation none": 1234.0,
        "2 workers, augmentation all": 567.0,
    }
